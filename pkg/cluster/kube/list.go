package kube

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// lister is the one call that listing makes; dynamic and generated clients have it as it is.
type lister[L any] interface {
	List(context.Context, metav1.ListOptions) (L, error)
}

// List reads the selected objects of a client in one call, which is made again while that fails for a reason that
// passes by itself.
func List[L any](ctx context.Context, of lister[L], selected metav1.ListOptions) (L, error) {
	var all L
	err := Retry(ctx, func(ctx context.Context) (err error) {
		all, err = of.List(ctx, selected)
		return err
	})
	return all, err
}
