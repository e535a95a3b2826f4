package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"github.com/serin-cd/serin/pkg/task/failure"
)

// source is one Helm release: a chart with values.
type source struct {
	name, namespace string
	folder          string   // of the chart, empty where it is fetched
	fetched         *wanted  // the chart that is fetched
	files           []string // of values, in the order in which they count
	values          map[string]any
	chart           *chart.Chart
}

// releases are those of the repository.
func (c Config) releases() ([]*source, error) {
	for _, folder := range []string{c.Directory, filepath.Join(c.Directory, "env")} {
		there, err := exists(filepath.Join(folder, "Chart.yaml"))
		if err != nil {
			return nil, err
		}
		if !there {
			continue
		}
		name, err := c.name()
		if err != nil {
			return nil, err
		}
		r := &source{name: name, namespace: c.Namespace, folder: folder}
		if folder == c.Directory { // whose own values.yaml Helm reads
			values := filepath.Join(folder, "env", "values.yaml")
			if there, err = exists(values); err != nil {
				return nil, err
			} else if there {
				r.files = []string{values}
			}
		}
		return []*source{r}, nil
	}
	return c.helmfile()
}

func exists(file string) (bool, error) {
	_, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the environment repository: %w", err)
	}
	return true, nil
}

// load reads the chart with its dependencies, and the values.
func (r *source) load(ctx context.Context, plain bool) error {
	from := fetcher{plain: plain}
	var err error
	if r.fetched != nil {
		r.chart, err = from.fetch(ctx, *r.fetched)
	} else {
		r.chart, err = loader.LoadDir(r.folder)
		if err != nil {
			err = failure.Configf("reading chart %s: %w", r.folder, err)
		} else {
			err = from.dependencies(ctx, r.chart, r.folder)
		}
	}
	if err != nil {
		return err
	}
	values := map[string]any{}
	for _, file := range r.files {
		read, err := common.ReadValuesFile(file)
		if err != nil {
			return failure.Configf("reading values %s: %w", file, err)
		}
		values = loader.MergeMaps(values, read)
	}
	r.values = loader.MergeMaps(values, r.values)
	return nil
}
