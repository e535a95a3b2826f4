package kube

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// watcher is the one call that following makes; dynamic and generated clients have it as it is.
type watcher interface {
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// Named selects one object.
func Named(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: "metadata.name=" + name}
}

// Follow calls fn for each selected object as it is now and whenever it changes, until fn is done or
// fails, or ctx ends. It is one call to the server: a watch that begins with what exists. When the
// watch ends it begins anew. The deletion of an object while no watch was open is not noticed.
func Follow(ctx context.Context, w watcher, selected metav1.ListOptions,
	fn func(watch.EventType, runtime.Object) (done bool, err error)) error {
	for {
		var stream watch.Interface
		err := Retry(ctx, func(ctx context.Context) (err error) {
			stream, err = w.Watch(ctx, selected)
			return err
		})
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("watching %s%s: %w", selected.FieldSelector, selected.LabelSelector, err)
		}
		done, err := drain(ctx, stream, fn)
		stream.Stop()
		if done || err != nil {
			return err
		}
		select { // a server that ends each watch at once must not be asked in a tight loop
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func drain(ctx context.Context, stream watch.Interface, fn func(watch.EventType, runtime.Object) (bool, error)) (bool,
	error) {
	for {
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case event, open := <-stream.ResultChan():
			switch {
			case !open:
				return false, nil
			case event.Type == watch.Error:
				if err := apierrors.FromObject(event.Object); !apierrors.IsGone(err) &&
					!apierrors.IsResourceExpired(err) && !Transient(err) {
					return false, err
				}
				return false, nil
			case event.Type != watch.Bookmark:
				done := false
				err := failure.Guard(func() (err error) {
					done, err = fn(event.Type, event.Object)
					return err
				})
				if done || err != nil {
					return done, err
				}
			}
		}
	}
}
