package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release/status"
)

// candidates are the values that a flag or an argument may have, of what else was given.
type candidates func(cmd *cobra.Command, args []string) ([]string, error)

// offerValues has a shell complete a flag; it offers nothing where that cannot be read.
func offerValues(cmd *cobra.Command, flag string, all candidates) {
	if err := cmd.RegisterFlagCompletionFunc(flag, all.complete); err != nil {
		panic(err) // there is no such flag, or it is completed already
	}
}

// quick is how long a shell waits for what it completes.
const quick = 3 * time.Second

// complete is what cobra asks.
func (v candidates) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), quick)
	defer cancel()
	cmd.SetContext(ctx)
	found, err := v(cmd, args)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// formats adds the flag output, with the formats that there are, the first of which is the default.
func (l *looking) formats(cmd *cobra.Command, known ...string) {
	usage := known[0]
	for _, k := range known[1 : len(known)-1] {
		usage += ", " + k
	}
	cmd.Flags().StringVarP(&l.output, "output", "o", known[0], usage+" or "+known[len(known)-1])
	l.offerFormats(cmd, known...)
}

// offerFormats completes the flag output.
func (l *looking) offerFormats(cmd *cobra.Command, known ...string) {
	offerValues(cmd, "output", func(*cobra.Command, []string) ([]string, error) { return known, nil })
}

// addRun adds the flag run, which is completed with the application's runs.
func addRun(cmd *cobra.Command, l *looking, name *string) {
	cmd.Flags().StringVar(name, "run", "", "name of the PipelineRun (default: the one that is on, or the last)")
	offerValues(cmd, "run", l.runs)
}

// applications offers those that Serin has released.
func (f *clusterFlags) applications(cmd *cobra.Command, args []string) ([]string, error) {
	if len(args) > 0 {
		return nil, nil
	}
	cluster, namespace, err := f.connect()
	if err != nil {
		return nil, err
	}
	found, err := status.List(cmd.Context(), cluster, namespace)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, a := range found {
		names = append(names, a.Name)
	}
	return names, nil
}

// complete offers the names of applications.
func (l *looking) complete(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return candidates(l.cluster.applications).complete(cmd, args, typed)
}

// runs offers the runs of the application that was given, the newest first.
func (l *looking) runs(cmd *cobra.Command, args []string) ([]string, error) {
	cluster, namespace, err := l.cluster.connect()
	if err != nil {
		return nil, err
	}
	found, err := status.History(cmd.Context(), cluster, namespace)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, r := range found {
		if len(args) > 0 && r.App == args[0] {
			all = append(all, cobra.CompletionWithDesc(r.ID.Name, described(r)))
		}
	}
	return all, nil
}

func described(r status.Run) string {
	return fmt.Sprintf("%s, %s", r.Created.Local().Format(time.DateTime), cmp.Or(string(r.Outcome), r.State))
}

// named offers the names of objects of a kind in the namespace.
func (l *looking) named(resource schema.GroupVersionResource) candidates {
	return func(cmd *cobra.Command, _ []string) ([]string, error) {
		cluster, namespace, err := l.cluster.connect()
		if err != nil {
			return nil, err
		}
		return names(cmd.Context(), cluster.Objects(resource, namespace))
	}
}

// names are those of all objects of a client.
func names(ctx context.Context, of dynamic.ResourceInterface) ([]string, error) {
	list, err := kube.List(ctx, of, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var all []string
	for _, o := range list.Items {
		all = append(all, o.GetName())
	}
	return all, nil
}

// namespaces offers those of the cluster, if they may be listed.
func (f *clusterFlags) namespaces(cmd *cobra.Command, _ []string) ([]string, error) {
	cluster, _, err := f.connect()
	if err != nil {
		return nil, err
	}
	return names(cmd.Context(), cluster.Objects(kube.Namespaces, ""))
}

// contexts offers those of the kubeconfig.
func (f *clusterFlags) contexts(*cobra.Command, []string) ([]string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	config, err := rules.Load()
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(config.Contexts)), nil
}
