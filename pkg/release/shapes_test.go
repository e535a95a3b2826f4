package release_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// shapes draws objects of an application as people write them.
type shapes struct {
	*rand.Rand
	app, namespace string
}

type object = map[string]any

// one is one of several, each as likely as another.
func one[T any](g *shapes, of ...T) T { return of[g.IntN(len(of))] }

// often and seldom say yes in nine of ten cases, and in one of ten.
func (g *shapes) often() bool  { return g.IntN(10) > 0 }
func (g *shapes) seldom() bool { return g.IntN(10) == 0 }

func (g *shapes) meta(kind, version string) object {
	o := object{"apiVersion": version, "kind": kind}
	meta := object{"name": g.app}
	if g.IntN(2) == 0 {
		meta["labels"] = object{"team": "web", "app.kubernetes.io/managed-by": "Helm", "app": g.app}
	}
	if g.IntN(3) == 0 {
		meta["annotations"] = object{"note": "a \"quoted\" ~/ text\n", "prometheus.io/scrape": "true",
			"argocd.argoproj.io/tracking-id": "x"}
	}
	o["metadata"] = meta
	return o
}

func (g *shapes) deployment() object {
	labels := object{}
	key := one(g, "app", "app", "app", "name", "app.kubernetes.io/name", "role")
	labels[key] = g.app
	if g.seldom() {
		labels[key] = g.app + strings.Repeat("x", 50+g.IntN(10))
	}
	selector := object{"matchLabels": object{key: labels[key]}}
	if g.IntN(3) == 0 {
		labels["tier"] = one(g, "web", g.app)
		if g.IntN(2) == 0 {
			selector["matchLabels"] = object{key: labels[key], "tier": labels["tier"]}
		}
	}
	if g.seldom() {
		selector["matchExpressions"] = []any{
			object{"key": key, "operator": "In", "values": []any{labels[key], "other"}},
		}
	}
	if g.IntN(30) == 0 {
		delete(selector, "matchLabels")
		selector["matchExpressions"] = []any{object{"key": key, "operator": "Exists"}}
	}
	labels["version"] = "1"
	template := object{"metadata": object{"labels": labels}, "spec": g.podSpec(key, labels[key])}
	if g.IntN(3) == 0 {
		template["metadata"].(object)["annotations"] = object{
			"sidecar.istio.io/inject": "false",
			"checksum/config":         "abc",
		}
	}
	spec := object{"selector": selector, "template": template}
	if g.often() {
		spec["replicas"] = int64(one(g, 1, 1, 1, 2, 0))
	}
	for name, value := range map[string]any{
		"minReadySeconds": int64(one(g, 0, 1)), "revisionHistoryLimit": int64(g.IntN(4)),
		"progressDeadlineSeconds": int64(600), "paused": g.IntN(10) == 0, "strategy": g.strategy(),
	} {
		if g.IntN(3) == 0 {
			spec[name] = value
		}
	}
	o := g.meta("Deployment", "apps/v1")
	o["spec"] = spec
	return o
}

func (g *shapes) strategy() object {
	if g.IntN(4) == 0 {
		return object{"type": "Recreate"}
	}
	rolling := object{}
	if g.often() {
		rolling["maxSurge"] = one[any](g, int64(0), int64(1), "25%", "100%", "0%", int64(3))
	}
	if g.often() {
		rolling["maxUnavailable"] = one[any](g, int64(0), int64(1), "25%", "100%", "0%")
	}
	return object{"type": "RollingUpdate", "rollingUpdate": rolling}
}

func (g *shapes) podSpec(key string, value any) object {
	containers := []any{g.container("app")}
	for i := range one(g, 0, 0, 0, 1, 2) {
		containers = append(containers, g.container(fmt.Sprint("other-", i)))
	}
	spec := object{"containers": containers}
	selects := object{"matchLabels": object{key: value}}
	for name, of := range map[string]any{
		"initContainers": []any{g.container("init")},
		"affinity": object{"podAntiAffinity": object{"preferredDuringSchedulingIgnoredDuringExecution": []any{object{
			"weight":          int64(1),
			"podAffinityTerm": object{"topologyKey": "kubernetes.io/hostname", "labelSelector": selects}}}}},
		"topologySpreadConstraints": []any{object{"maxSkew": int64(1), "topologyKey": "zone",
			"whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selects}},
		"volumes":                       []any{object{"name": "tmp", "emptyDir": object{}}},
		"terminationGracePeriodSeconds": int64(one(g, 0, 5, 300)),
		"nodeSelector":                  object{"app": g.app},
		"securityContext":               object{"runAsNonRoot": true, "fsGroup": int64(1)},
		"dnsConfig":                     object{"options": []any{object{"name": "ndots", "value": "2"}}},
	} {
		if g.IntN(4) == 0 {
			spec[name] = of
		}
	}
	return spec
}

func (g *shapes) container(name string) object {
	c := object{"name": name, "image": "example.test/" + name + ":1"}
	var ports []any
	for i := range one(g, 0, 1, 1, 1, 2, 3) {
		port := object{"containerPort": int64(8080 + 10*i)}
		if g.IntN(2) == 0 {
			port["name"] = one(g, "http", "grpc", "admin") + one(g, "", fmt.Sprint(i))
		}
		if g.seldom() {
			port["protocol"] = one(g, "UDP", "SCTP")
		}
		ports = append(ports, port)
	}
	if ports != nil {
		c["ports"] = ports
	}
	if g.IntN(3) == 0 {
		c["env"] = []any{object{"name": "A", "value": "$(B) {{x}}"}, object{"name": "POD",
			"valueFrom": object{"fieldRef": object{"fieldPath": "metadata.name"}}}}
	}
	if g.IntN(3) == 0 {
		c["resources"] = object{"requests": object{"cpu": "0.1", "memory": "100Mi"}}
	}
	return c
}

// service is nil where the application has none.
func (g *shapes) service() object {
	if g.IntN(5) == 0 {
		return nil
	}
	spec := object{}
	if g.often() {
		spec["selector"] = object{"app": g.app}
	}
	var ports []any
	for i := range one(g, 1, 1, 1, 2, 3, 0) {
		port := object{
			"port": int64(80 + i),
			"name": one(g, "http", "grpc", "tcp-x", "web", "") + one(g, "", fmt.Sprint("-", i)),
		}
		if g.IntN(2) == 0 {
			port["targetPort"] = one[any](g, int64(8080), "http", int64(9090), "grpc0")
		}
		if g.seldom() {
			port["protocol"] = one(g, "UDP", "SCTP")
		}
		if g.seldom() {
			port["appProtocol"] = one(g, "http", "kubernetes.io/h2c", "https", "mysql")
		}
		ports = append(ports, port)
	}
	if ports != nil {
		spec["ports"] = ports
	}
	switch g.IntN(12) {
	case 0:
		spec["clusterIP"] = "None"
	case 1:
		spec["type"] = "NodePort"
	case 2:
		spec["type"] = "LoadBalancer"
	case 3:
		spec["type"], spec["externalName"] = "ExternalName", "example.test"
	case 4:
		spec["sessionAffinity"] = "ClientIP"
	case 5:
		spec["publishNotReadyAddresses"], spec["internalTrafficPolicy"] = true, "Local"
	}
	o := g.meta("Service", "v1")
	o["spec"] = spec
	return o
}

// virtualService is nil where the application has none.
func (g *shapes) virtualService() object {
	if g.IntN(4) == 0 {
		return nil
	}
	spec := object{
		"hosts": one(
			g,
			[]any{g.app},
			[]any{"*"},
			[]any{g.app + ".test", g.app + "." + g.namespace + ".svc.cluster.local"},
		),
	}
	if g.IntN(2) == 0 {
		spec["gateways"] = one(g, []any{"public"}, []any{"mesh", "istio-system/public"})
	}
	var http []any
	for range one(g, 1, 1, 1, 2, 3, 0) {
		http = append(http, g.httpRoute())
	}
	if http != nil {
		spec["http"] = http
	}
	for _, kind := range []string{"tcp", "tls"} {
		if g.seldom() {
			route := object{"route": g.destinations()}
			if kind == "tls" {
				route["match"] = []any{object{"sniHosts": []any{g.app + ".test"}, "port": int64(443)}}
			}
			spec[kind] = []any{route}
		}
	}
	o := g.meta("VirtualService", "networking.istio.io/v1")
	o["spec"] = spec
	return o
}

func (g *shapes) httpRoute() object {
	r := object{}
	switch g.IntN(12) {
	case 0:
		r["redirect"] = object{"uri": "/x"}
	case 1:
		r["directResponse"] = object{"status": int64(503)}
	case 2:
		r["delegate"] = object{"name": "other", "namespace": g.namespace}
	default:
		r["route"] = g.destinations()
	}
	for name, value := range map[string]any{
		"name": one(g, "main", "beta", ""),
		"match": []any{object{"uri": object{"prefix": "/a~b"},
			"headers": object{"x": object{"exact": "1"}}}, object{"port": int64(80)}},
		"timeout":    "5s",
		"retries":    object{"attempts": int64(3), "perTryTimeout": "1s"},
		"fault":      object{"abort": object{"httpStatus": int64(500), "percentage": object{"value": 0.1}}},
		"mirror":     object{"host": "shadow"},
		"headers":    object{"request": object{"set": object{"a": "b"}, "remove": []any{"c"}}},
		"rewrite":    object{"uri": "/"},
		"corsPolicy": object{"allowOrigins": []any{object{"exact": "https://example.test"}}},
	} {
		if g.IntN(4) == 0 {
			r[name] = value
		}
	}
	return r
}

func (g *shapes) destinations() []any {
	spelled := func(service string) string {
		return service + one(
			g,
			"",
			"",
			"."+g.namespace,
			"."+g.namespace+".svc",
			"."+g.namespace+".svc.cluster.local",
			".else",
		)
	}
	pair := []string{g.app + "-primary", g.app + "-canary"}
	hosts := one(
		g,
		[]string{g.app},
		[]string{g.app},
		[]string{g.app},
		pair,
		pair,
		[]string{pair[1], pair[0]},
		[]string{
			"other",
		},
		[]string{g.app, "other"},
		[]string{pair[0]},
		append(pair, "other"),
		[]string{pair[0], pair[0]},
	)
	var all []any
	for i, host := range hosts {
		to := object{"host": host}
		if g.IntN(3) == 0 {
			to["host"] = spelled(host)
		}
		if g.IntN(3) == 0 {
			to["port"] = object{"number": int64(80)}
		}
		if g.IntN(20) == 0 {
			to["subset"] = "v1"
		}
		d := object{"destination": to}
		switch {
		case len(hosts) == 2 && g.often():
			d["weight"] = int64(one(g, 100, 100, 100, 0)) * int64(1-i)
		case g.IntN(3) == 0:
			d["weight"] = int64(one(g, 0, 50, 100, -10, 130))
		}
		all = append(all, d)
	}
	return all
}
