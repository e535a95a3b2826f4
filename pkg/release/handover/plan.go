package handover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/release"
	"github.com/serin-cd/serin/pkg/release/prepare"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Step is a part of a handover. After each write of it the application is served, and another try begins where this one
// has ended.
type Step struct {
	Text string // what it does, as one would ask for it
	do   func(context.Context) error
}

// Plan is a handover: what it will do, in order, and what is to be known besides.
type Plan struct {
	Steps []Step
	Notes []string

	holder *release.Release // whose Lease keeps runs away meanwhile; nil where nothing is to be done
	ends   bool             // the Lease goes with the rest
}

func (p *Plan) step(do func(context.Context) error, format string, args ...any) {
	p.Steps = append(p.Steps, Step{fmt.Sprintf(format, args...), do})
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// reserve notes reservations.
func (p *Plan) reserve(all []prepare.Reservation) {
	for _, one := range all {
		p.note("%s", strings.TrimSuffix(one.Text+": "+one.Advice, ": "))
	}
}

// Run does all steps, while no run may begin; begun is told of each before it begins.
func (p Plan) Run(ctx context.Context, begun func(Step)) error {
	if len(p.Steps) == 0 {
		return nil
	}
	free, err := p.hold(ctx)
	if err != nil {
		return err
	}
	if err := p.steps(ctx, begun); err != nil {
		return errors.Join(err, free(false))
	}
	return free(p.ends)
}

func (p Plan) steps(ctx context.Context, begun func(Step)) error {
	for _, s := range p.Steps {
		begun(s)
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("to %s: %w", s.Text, err)
		}
	}
	return nil
}

// hold keeps runs away: it holds the application's Lease until it is given up, or deleted. The holder is no run, so no
// run takes the Lease for that of one that is gone; another try of a handover has it at once.
func (p Plan) hold(ctx context.Context) (free func(gone bool) error, err error) {
	r := *p.holder
	r.Lease.Holder = run.ID{Namespace: r.App.Namespace, Name: "tkn-canary"}
	if _, err := prepare.Acquire(ctx, &r, prepare.Queue{OnBusy: prepare.Fail}); err != nil {
		return nil, err
	}
	keeping, stop := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { r.Lease.KeepOn(keeping) })
	return func(gone bool) error {
		stop()
		keeper.Wait()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if !gone {
			return r.Lease.Release(ctx)
		}
		err := r.Cluster.Objects(kube.Leases, r.App.Namespace).Delete(ctx, r.App.Lease(), metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}, nil
}
