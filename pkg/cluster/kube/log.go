package kube

import (
	"context"
	"io"
	"strconv"
)

// Log is what a container has printed so far, or with follow all that it prints until it ends.
func (c *Cluster) Log(ctx context.Context, namespace, pod, container string, follow bool) (io.ReadCloser, error) {
	return c.plain.Get().Namespace(namespace).Resource("pods").Name(pod).SubResource("log").
		Param("container", container).Param("follow", strconv.FormatBool(follow)).Stream(ctx)
}
