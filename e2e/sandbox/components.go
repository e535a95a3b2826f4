package sandbox

import (
	"net"
	"path/filepath"

	"github.com/serin-cd/serin/e2e/sandbox/internal/node"
)

// Components of the node, for Start, Stop, Kill, Restart and Log.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kubelet           = "kubelet"
	KubeProxy         = "kube-proxy"
	Containerd        = "containerd"
	Istiod            = "istiod"
	Envoy             = "envoy"
	Prometheus        = "prometheus"
	MetricsServer     = "metrics-server"
	Flagger           = "flagger"
)

const (
	apiPort      = "6443"
	promPort     = "9090"
	envoyAdmin   = "15000"
	istiodPort   = "18080"
	webhookPort  = "15017" // of istiod's validation
	metricsPort  = "4443"  // of metrics-server
	flaggerPort  = "18081" // of Flagger's health and metrics
	apiServiceIP = "10.96.0.1"
	dnsServiceIP = "10.96.0.10"
	serviceCIDR  = "10.96.0.0/16"
	ctrSocket    = "/run/containerd/containerd.sock"
	hostname     = "node"
)

// Priorities of those whose lateness others take for a fault of what they test: requests wait for the gateway, which
// would weigh a sixteenth of all pods, and steps for the API server.
const (
	serving   = -15
	answering = -5
)

// components are the programs of the node, with all their flags.
func components(cfg node.Config, built programs, o Options) []node.Component {
	pki := func(name string) string { return filepath.Join(pkiDir(cfg), name) }
	etc := func(name string) string { return filepath.Join(cfg.Dir, "etc", name) }
	kube := func(name string, args ...string) node.Component {
		return node.Component{Name: name, Command: append([]string{built.kube("kube"), name}, args...)}
	}
	as := func(name string) []string { // a controller's own identity, towards the API server and for its own clients
		file := pki(name + ".kubeconfig")
		return []string{"--kubeconfig=" + file, "--authentication-kubeconfig=" + file,
			"--authorization-kubeconfig=" + file,
			"--leader-elect=false", "--bind-address=127.0.0.1"}
	}
	boot := func(c node.Component) node.Component { c.Boot = true; return c }
	answers := func(c node.Component) node.Component { c.Nice = answering; return c }

	all := []node.Component{
		boot(answers(kube(Etcd, "--data-dir="+filepath.Join(cfg.Dir, "etcd"),
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
			"--initial-cluster=default=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn"))),
		boot(answers(kube(APIServer, "--etcd-servers=http://127.0.0.1:2379", "--bind-address=0.0.0.0",
			"--secure-port="+apiPort,
			"--advertise-address="+cfg.NodeIP, "--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true", "--service-cluster-ip-range="+serviceCIDR,
			"--client-ca-file="+pki("ca.crt"), "--tls-cert-file="+pki("apiserver.crt"),
			"--tls-private-key-file="+pki("apiserver.key"),
			"--kubelet-client-certificate="+pki("apiserver-kubelet.crt"),
			"--kubelet-client-key="+pki("apiserver-kubelet.key"),
			"--kubelet-certificate-authority="+pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP,Hostname",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-signing-key-file="+pki("sa.key"), "--service-account-key-file="+pki("sa.pub"),
			"--requestheader-client-ca-file="+pki("front-proxy-ca.crt"),
			"--requestheader-allowed-names=front-proxy-client",
			"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file="+pki("front-proxy.crt"), "--proxy-client-key-file="+pki("front-proxy.key"),
			"--audit-policy-file="+etc("audit.yaml"), "--audit-log-path="+auditLog(cfg), "--audit-log-mode=blocking",
			"--audit-log-maxsize=1000"))),
		boot(node.Component{Name: Containerd,
			Command: []string{"/usr/bin/containerd", "--config", etc("containerd.toml")}}),
		kube(Kubelet, "--config="+etc("kubelet.yaml"), "--kubeconfig="+pki("kubelet.kubeconfig"),
			"--hostname-override="+cfg.Hostname, "--node-ip="+cfg.NodeIP, "--root-dir=/var/lib/kubelet"),
		// with the default limit of 20 requests a second its start takes 4 s longer
		kube(ControllerManager, append(as("kcm"), "--service-account-private-key-file="+pki("sa.key"),
			"--root-ca-file="+pki("ca.crt"),
			"--cluster-signing-cert-file="+pki("ca.crt"), "--cluster-signing-key-file="+pki("ca.key"),
			"--use-service-account-credentials=true", "--kube-api-qps=500", "--kube-api-burst=1000",
			// or the only node's pods would all be unready when kubelet is away for a minute
			"--node-monitor-grace-period=2m",
			"--flex-volume-plugin-dir=/var/lib/kubelet/plugins")...),
		kube(Scheduler, as("scheduler")...),
		kube(KubeProxy, "--config="+etc("kube-proxy.yaml")),
	}
	if o.MetricsServer {
		all = append(all, node.Component{Name: MetricsServer,
			Command: append([]string{built.metrics}, append(as(MetricsServer)[:3], "--bind-address="+cfg.NodeIP,
				"--secure-port="+metricsPort, "--tls-cert-file="+pki("metrics-server-api.crt"),
				"--tls-private-key-file="+pki("metrics-server-api.key"),
				"--kubelet-certificate-authority="+pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
				"--metric-resolution=15s", "--kubelet-request-timeout=5s")...)})
	}
	if o.Bare {
		return all
	}
	if o.Flagger {
		all = append(all, node.Component{Name: Flagger, Command: []string{built.flagger,
			"-kubeconfig=" + pki("flagger.kubeconfig"), "-mesh-provider=istio", "-log-level=info",
			"-metrics-server=http://" + net.JoinHostPort(cfg.NodeIP, promPort), "-port=" + flaggerPort}})
	}
	return append(all,
		node.Component{
			Name: Istiod,
			Command: []string{built.istiod, "discovery", "--kubeconfig", pki("istiod.kubeconfig"), "--meshConfig",
				etc("mesh.yaml"),
				"--httpsAddr", cfg.NodeIP + ":" + webhookPort, "--tlsCertFile", pki("istiod-webhook.crt"),
				"--tlsKeyFile", pki("istiod-webhook.key"),
				"--caCertFile", pki("ca.crt"), "--secureGRPCAddr", "", "--grpcAddr", "127.0.0.1:15010", "--httpAddr",
				cfg.NodeIP + ":" + istiodPort,
				"--monitoringAddr", "127.0.0.1:15014"},
			Env: []string{"POD_NAMESPACE=istio-system", "POD_NAME=istiod-0", "INJECT_ENABLED=false",
				"VALIDATION_WEBHOOK_CONFIG_NAME=",
				"PILOT_ENABLE_METADATA_EXCHANGE=false", "PILOT_ENABLE_ALPN_FILTER=false"},
		},
		node.Component{
			Name: Envoy,
			Nice: serving,
			Command: []string{built.envoy, "--config-path", etc("envoy.yaml"), "--disable-hot-restart", "--concurrency",
				"2",
				"--log-level", "warning"},
		},
		node.Component{
			Name: Prometheus,
			Boot: true,
			Command: []string{"/usr/bin/prometheus", "--config.file=" + etc("prometheus.yaml"),
				"--storage.tsdb.path=" + filepath.Join(cfg.Dir, "prometheus"),
				"--web.listen-address=" + cfg.NodeIP + ":" + promPort, "--web.enable-lifecycle",
				"--web.enable-admin-api",
				"--web.enable-remote-write-receiver"},
		},
	)
}

func auditLog(cfg node.Config) string { return filepath.Join(cfg.LogDir(), "audit.json") }
