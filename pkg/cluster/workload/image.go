package workload

import (
	"fmt"
	"strings"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// SetImage are the operations that give a container of the target an image; none where it has it. The
// container may be left out where the target has just one.
func SetImage(target *Deployment, container, image string) ([]kube.Operation, error) {
	if image == "" {
		return nil, nil
	}
	containers := target.Spec.Template.Spec.Containers
	var names []string
	at := -1
	for i, c := range containers {
		names = append(names, c.Name)
		if c.Name == container || container == "" && len(containers) == 1 {
			at = i
		}
	}
	if at < 0 {
		return nil, failure.Configf("setting image %s on Deployment %s: container %q, want one of %s", image,
			target.Name, container, strings.Join(names, ", "))
	}
	if containers[at].Image == image {
		return nil, nil
	}
	path := fmt.Sprintf("/spec/template/spec/containers/%d", at)
	return []kube.Operation{kube.Test(path+"/name", containers[at].Name), kube.Replace(path+"/image", image)}, nil
}
