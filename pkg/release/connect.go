package release

import (
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/task/run"
)

// Connect takes an application in hand with the cluster of this process.
func Connect(app string, id run.ID) (*Release, error) {
	cluster, err := kube.Connect()
	if err != nil {
		return nil, err
	}
	return New(cluster, app, id)
}
