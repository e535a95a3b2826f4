package main

import (
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// clusterFlags say which cluster and namespace are meant, as kubectl's do.
type clusterFlags struct{ kubeconfig, context, namespace string }

func (f *clusterFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.kubeconfig, "kubeconfig", "",
		"path of the kubeconfig (default: $KUBECONFIG, then ~/.kube/config)")
	flags.StringVar(&f.context, "context", "", "context of the kubeconfig")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "namespace of the application (default: the context's)")
}

func (f *clusterFlags) connect() (*kube.Cluster, string, error) {
	server, namespace, err := f.config()
	if err != nil {
		return nil, "", err
	}
	cluster, err := kube.New(server)
	return cluster, namespace, err
}

// config is the configuration of a client, and the namespace.
func (f *clusterFlags) config() (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: f.context}
	config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	server, err := config.ClientConfig()
	if err != nil {
		return nil, "", failure.Configf("reading the kubeconfig: %w", err)
	}
	namespace := f.namespace
	if namespace == "" {
		if namespace, _, err = config.Namespace(); err != nil {
			return nil, "", failure.Configf("reading the kubeconfig: %w", err)
		}
	}
	return server, namespace, nil
}
