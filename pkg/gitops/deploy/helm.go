package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"helm.sh/helm/v4/pkg/action"
	helm "helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/pkg/cluster/kube"
)

// history is how many revisions of a release Helm keeps, as its own command does.
const history = 10

// callHelm has Helm write under the name by which its own command does, which may have installed the release.
var callHelm = sync.OnceFunc(func() { helm.ManagedFieldsManager = "helm" })

// upgrade installs a release or upgrades it.
func upgrade(ctx context.Context, actions *action.Configuration, c Config, r *source, seen *rendered) error {
	var last *release.Release
	err := kube.Retry(ctx, func(context.Context) (err error) {
		last, err = latest(actions, r.name)
		return err
	})
	if err != nil {
		return err
	}
	server := c.Mode == Server || c.Mode == Auto &&
		(last == nil || last.ApplyMethod == string(release.ApplyMethodServerSideApply))
	deadline, _ := ctx.Deadline()
	if last == nil || last.Info.Status == common.StatusUninstalled {
		i := action.NewInstall(actions)
		i.ReleaseName, i.Namespace, i.Timeout, i.Replace = r.name, r.namespace, time.Until(deadline), true
		i.ServerSideApply, i.ForceConflicts = server, server
		i.WaitStrategy, i.PostRenderer = helm.HookOnlyStrategy, seen
		i.PostRenderStrategy = action.PostRenderStrategyNoHooks
		_, err = i.RunWithContext(ctx, r.chart, r.values)
	} else if err = takeOver(actions, last, time.Duration(c.Deadline)); err == nil {
		u := action.NewUpgrade(actions)
		u.Namespace, u.Timeout, u.MaxHistory, u.ResetValues = r.namespace, time.Until(deadline), history, true
		u.ServerSideApply, u.ForceConflicts = fmt.Sprint(server), server
		u.WaitStrategy, u.PostRenderer = helm.HookOnlyStrategy, seen
		u.PostRenderStrategy = action.PostRenderStrategyNoHooks
		_, err = u.RunWithContext(ctx, r.name, r.chart, r.values)
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// connect has Helm work in a namespace through a client that keeps what Serin holds.
func connect(ctx context.Context, config *rest.Config, cluster *kube.Cluster, namespace, release string,
	seen *rendered) (*action.Configuration, error) {
	callHelm()
	actions := action.NewConfiguration(action.ConfigurationSetLogger(slog.Default().Handler()))
	if err := actions.Init(&clients{config: config, namespace: namespace}, namespace, "secret"); err != nil {
		return nil, fmt.Errorf("connecting Helm: %w", err)
	}
	plain, ok := actions.KubeClient.(*helm.Client)
	if !ok {
		return nil, fmt.Errorf("connecting Helm: its client is a %T", actions.KubeClient)
	}
	plain.Namespace = namespace
	own := &client{Client: plain, ctx: ctx, cluster: cluster, namespace: namespace, seen: seen}
	actions.KubeClient = own
	seen.share = func(services []string) error { return own.shareWithHelm(services, release) }
	return actions, nil
}

// latest is the newest revision of a release that is or was installed; nil for none.
func latest(actions *action.Configuration, name string) (*release.Release, error) {
	found, err := actions.Releases.Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Helm release %s: %w", name, err)
	}
	last, ok := found.(*release.Release)
	if !ok {
		return nil, fmt.Errorf("reading the Helm release %s: it is a %T", name, found)
	}
	return last, nil
}

// grace is how long after its deadline somebody at work is taken for killed.
const grace = 5 * time.Minute

// takeOver lets go of a release on which somebody was at work and was killed: later than any that goes on, as far as
// its deadline was this one's.
func takeOver(actions *action.Configuration, last *release.Release, deadline time.Duration) error {
	if !last.Info.Status.IsPending() {
		return nil
	}
	if age := time.Since(last.Info.LastDeployed); age < deadline+grace {
		return fmt.Errorf("revision %d of it is %s since %s: somebody else is at work, or was killed: try again in %s",
			last.Version, last.Info.Status, last.Info.LastDeployed.UTC().Format(time.RFC3339),
			(deadline + grace - age).Round(time.Second))
	}
	slog.Warn("Helm was killed at its last work, which is given up", "release", last.Name, "revision", last.Version,
		"status", last.Info.Status)
	last.Info.Status, last.Info.Description = common.StatusFailed, "given up: whoever was at work has not ended"
	return actions.Releases.Update(last)
}
