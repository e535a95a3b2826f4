package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authentication "k8s.io/client-go/kubernetes/typed/authentication/v1"
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
	offerValues(cmd, "namespace", f.namespaces)
	offerValues(cmd, "context", f.contexts)
}

func (f *clusterFlags) connect() (*kube.Cluster, string, error) {
	server, namespace, err := f.config()
	if err != nil {
		return nil, "", err
	}
	cluster, err := kube.New(server)
	return cluster, namespace, err
}

// missing is an error where nothing was found because the namespace does not exist. An empty one is all of them.
func missing(ctx context.Context, cluster *kube.Cluster, namespace, doing string) error {
	if namespace == "" {
		return nil
	}
	_, err := cluster.Objects(kube.Namespaces, "").Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return failure.Configf("%s: there is no namespace %s: name one with -n", doing, namespace)
	}
	var unreached *kube.Unreached
	if errors.As(err, &unreached) {
		return err
	}
	return nil // or it may not be asked
}

// user is the name by which the cluster knows who runs the command.
func (f *clusterFlags) user(ctx context.Context) (string, error) {
	config, _, err := f.config()
	if err != nil {
		return "", err
	}
	client, err := authentication.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("connecting to %s: %w", config.Host, err)
	}
	review, err := client.SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{},
		metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking the cluster who you are, for the record: %w", err)
	}
	return review.Status.UserInfo.Username, nil
}

// config is the configuration of a client, and the namespace.
func (f *clusterFlags) config() (*rest.Config, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: f.context}
	config := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	server, err := config.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", failure.Configf("reading the kubeconfig: there is none: name one with --kubeconfig or " +
			"KUBECONFIG")
	}
	if known, _ := f.contexts(nil, nil); err != nil && f.context != "" && !slices.Contains(known, f.context) {
		return nil, "", failure.Configf("reading the kubeconfig: %w, want one of its contexts: %s", err,
			cmp.Or(strings.Join(known, ", "), "it has none"))
	}
	if err != nil {
		return nil, "", failure.Configf("reading the kubeconfig: %w", err)
	}
	kube.Impatient(server)
	namespace := f.namespace
	if namespace == "" {
		if namespace, _, err = config.Namespace(); err != nil {
			return nil, "", failure.Configf("reading the kubeconfig: %w", err)
		}
	}
	return server, namespace, nil
}
