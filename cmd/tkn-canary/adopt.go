package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/serin-cd/serin/internal/importing"
	"github.com/serin-cd/serin/internal/importing/flagger"
	"github.com/serin-cd/serin/pkg/cluster/application"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/cluster/mesh"
	"github.com/serin-cd/serin/pkg/release/handover"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/failure"
	"github.com/serin-cd/serin/pkg/task/parameter"
)

var metricTemplates = schema.GroupVersionResource{Group: flagger.Group, Version: "v1beta1",
	Resource: "metrictemplates"}

// adopting is what adopt is told.
type adopting struct {
	handing
	file  string
	given map[string]string // of what prepare takes
}

// foreseen are the parameters that decide what a first release makes, and which routes it shifts.
var foreseen = []string{"virtual-services", "routes", "hosts", "gateways", "port", "autoscaler", "primary-min-replicas",
	"primary-max-replicas", "metadata-include", "metadata-exclude"}

// released is how the application is to be released.
type released struct {
	prepare.Config

	Routes mesh.Selection
}

func adopts() *cobra.Command {
	a := adopting{given: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "adopt APP",
		Short: "Take over an application that Flagger runs, or that nobody does",
		Long: `Take over an application that Flagger runs, as it is: no pod is replaced and no request goes
elsewhere. Flagger's Canary is suspended, what it owns is freed from it, and it is deleted
without undoing anything; it is saved in a file before. One that Helm, Argo CD or Flux applies
stays, suspended. While Flagger releases, it is refused, and nothing is changed.

Of an application that nobody runs it tells what the first release will do, and checks that it
can. If it ends halfway, run it again.`,
		Example: `  tkn canary adopt shop -n production --dry-run
  tkn canary adopt shop -n production`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd, args[0]) },
	}
	a.add(cmd)
	cmd.Flags().StringVar(&a.file, "save", "",
		"file for Flagger's Canary and its MetricTemplates (default: APP-flagger.yaml)")
	offer(cmd, a.given, slices.DeleteFunc(parameter.Of(released{}), func(p parameter.Parameter) bool {
		return !slices.Contains(foreseen, p.Name)
	}))
	return cmd
}

func (a *adopting) run(cmd *cobra.Command, name string) error {
	ctx, stop := stoppable(cmd.Context())
	defer stop()
	cluster, app, err := a.begin(ctx, name)
	if err != nil {
		return err
	}
	var how released
	if err := parameter.Decode(ctx, a.given, &how); err != nil {
		return err
	}
	canary, err := handover.Canary(ctx, cluster, app)
	if err != nil {
		return err
	}
	objects, err := flaggers(ctx, cluster, app, canary)
	if err != nil {
		return err
	}
	plan, err := handover.Adopt(ctx, cluster, app, how.Routes,
		prepare.Preparation{Config: how.Config, Deadline: patient})
	if err != nil {
		return err
	}
	out := handed{App: app.String()}
	if len(plan.Steps) > 0 && canary != nil && !a.dry {
		if out.Saved, err = a.save(app, objects); err != nil {
			return err
		}
	}
	if err := a.do(ctx, plan, cmd.OutOrStdout(), &out); err != nil {
		return err
	}
	out.Next = a.next(app, canary != nil)
	if out.Saved != "" {
		out.Notes = append(out.Notes, "Canary and MetricTemplates are saved in "+out.Saved)
	}
	return a.print(cmd.OutOrStdout(), out)
}

// next are the commands to go on with.
func (a *adopting) next(app application.Application, flaggers bool) []string {
	if !flaggers {
		return []string{fmt.Sprintf("tkn canary start %s -n %s --watch", app.Name, app.Namespace)}
	}
	return []string{
		fmt.Sprintf("tkn canary import -f %s | kubectl apply -f -", a.saved(app)),
		fmt.Sprintf("tkn canary start %s -n %s --last --image IMAGE --watch", app.Name, app.Namespace),
	}
}

func (a *adopting) saved(app application.Application) string {
	return cmp.Or(a.file, app.Name+"-flagger.yaml")
}

// save writes Flagger's objects into a file. One that is there is of an earlier try, and has the Canary as it was.
func (a *adopting) save(app application.Application, objects []byte) (string, error) {
	name := a.saved(app)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return name, a.same(name, app)
	}
	if err == nil {
		_, err = f.Write(objects)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return "", failure.Configf("saving Flagger's Canary: %w: name a file with --save", err)
	}
	return name, nil
}

// same refuses a file that has no Canary of the application.
func (a *adopting) same(name string, app application.Application) error {
	documents, err := document(nil, name)
	if err == nil {
		var all []*importing.Release
		if all, err = flagger.Import(documents, app.Namespace); err == nil && len(all) == 1 && all[0].App == app {
			return nil
		}
	}
	return failure.Configf("saving Flagger's Canary: %s exists, and has another than that of %s: name another file "+
		"with --save (%v)", name, app, err)
}

// flaggers are the Canary and its MetricTemplates as YAML. What import refuses is refused.
func flaggers(ctx context.Context, cluster *kube.Cluster, app application.Application,
	canary *unstructured.Unstructured) ([]byte, error) {
	if canary == nil {
		return nil, nil
	}
	all := []*unstructured.Unstructured{canary}
	metrics, _, _ := unstructured.NestedSlice(canary.Object, "spec", "analysis", "metrics")
	for _, m := range metrics {
		metric, _ := m.(map[string]any)
		name, _, _ := unstructured.NestedString(metric, "templateRef", "name")
		namespace, _, _ := unstructured.NestedString(metric, "templateRef", "namespace")
		if name == "" {
			continue
		}
		if namespace == "" {
			namespace = app.Namespace
		}
		template, err := cluster.Objects(metricTemplates, namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue // import says so, with its place
		}
		if err != nil {
			return nil, fmt.Errorf("reading MetricTemplate %s/%s: %w", namespace, name, err)
		}
		all = append(all, template)
	}
	var text bytes.Buffer
	for i, o := range all {
		if i > 0 {
			text.WriteString("---\n")
		}
		if err := encode(&text, "yaml", bare(o).Object); err != nil {
			return nil, err
		}
	}
	documents, err := importing.Read("Canary "+canary.GetName(), strings.NewReader(text.String()))
	if err == nil {
		_, err = flagger.Import(documents, app.Namespace)
	}
	return text.Bytes(), err
}

// bare is an object as one would apply it.
func bare(o *unstructured.Unstructured) *unstructured.Unstructured {
	out := &unstructured.Unstructured{Object: map[string]any{"spec": o.Object["spec"]}}
	out.SetAPIVersion(o.GetAPIVersion())
	out.SetKind(o.GetKind())
	out.SetName(o.GetName())
	out.SetNamespace(o.GetNamespace())
	out.SetLabels(o.GetLabels())
	return out
}
