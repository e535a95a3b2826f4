package deploy_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	oci "github.com/google/go-containerregistry/pkg/registry"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/registry"
	"helm.sh/helm/v4/pkg/repo/v1"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/internal/releasetest"
	"github.com/serin-cd/serin/pkg/gitops/deploy"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// published are versions 0.0.1 and 0.0.2 of the chart podinfo, which deploy versions 1 and 2, in a repository and in a
// registry.
func published(t *testing.T) (repository, images string) {
	t.Helper()
	folder := t.TempDir()
	images = strings.TrimPrefix(serve(t, oci.New(oci.Logger(log.New(io.Discard, "", 0)))), "http://")
	client, err := registry.NewClient(registry.ClientOptPlainHTTP(), registry.ClientOptWriter(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1", "2"} {
		c, err := loader.LoadDir("testdata/environment/podinfo")
		if err != nil {
			t.Fatal(err)
		}
		c.Metadata.Version = "0.0." + version
		for _, f := range c.Raw {
			if f.Name == "values.yaml" {
				f.Data = fmt.Appendf(nil, "version: %q\nreplicas: 2\nkeep: true\ncanary: {enabled: false}\nroute: ''\n"+
					"timeout: 10s\nowner: ann\n", version)
			}
		}
		file, err := chartutil.Save(c, folder)
		if err != nil {
			t.Fatal(err)
		}
		packed, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Push(packed, images+"/charts/podinfo:0.0."+version); err != nil {
			t.Fatal(err)
		}
	}
	index, err := repo.IndexDirectory(folder, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := index.WriteFile(filepath.Join(folder, "index.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	return serve(t, http.FileServer(http.Dir(folder))), "oci://" + images + "/charts"
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// TestSourcesOfCharts applies version 2 from everywhere that a chart may come from.
func TestSourcesOfCharts(t *testing.T) {
	apitest.Config(t)
	repository, images := published(t)
	const chart = "{apiVersion: v2, name: env, version: 0.1.0, dependencies: [{name: podinfo, version: %q, " +
		"repository: %q}]}"
	cases := map[string]struct {
		files map[string]string
		want  string
	}{
		"a repository":          {map[string]string{"Chart.yaml": fmt.Sprintf(chart, "0.0.2", repository)}, "2"},
		"a range":               {map[string]string{"Chart.yaml": fmt.Sprintf(chart, "~0.0.1", repository)}, "2"},
		"a registry":            {map[string]string{"Chart.yaml": fmt.Sprintf(chart, "0.0.2", images)}, "2"},
		"a range of a registry": {map[string]string{"Chart.yaml": fmt.Sprintf(chart, ">=0.0.1 <1", images)}, "2"},
		"a lock": {map[string]string{"Chart.yaml": fmt.Sprintf(chart, "~0.0.1", images), "Chart.lock": fmt.Sprintf(
			"{dependencies: [{name: podinfo, version: 0.0.1, repository: %q}], digest: x}", images)}, "1"},
		"values beside": {map[string]string{"Chart.yaml": fmt.Sprintf(chart, "0.0.1", images),
			"values.yaml": `podinfo: {version: "8"}`, "env/values.yaml": `podinfo: {version: "9"}`}, "9"},
		"requirements": {map[string]string{"env/Chart.yaml": "{name: env, version: 0.1.0}",
			"env/requirements.yaml": fmt.Sprintf("dependencies: [{name: podinfo, version: 0.0.2, repository: %q}]",
				repository)}, "2"},
		"an alias": {map[string]string{"Chart.yaml": fmt.Sprintf("{apiVersion: v2, name: env, version: 0.1.0, "+
			"dependencies: [{name: podinfo, alias: shop, version: 0.0.2, repository: %q}]}", repository),
			"values.yaml": `shop: {version: "7", canary: {enabled: true}}`}, "7"},
		"a helmfile": {map[string]string{"helmfile.yaml": fmt.Sprintf("repositories: [{name: shop, url: %q}]\n"+
			"releases: [{name: podinfo, chart: shop/podinfo, version: 0.0.1, values: [values.yaml, {owner: bob}]}]",
			repository), "values.yaml": `{version: "6", canary: {enabled: true}}`}, "6"},
		"a helmfile and a registry": {map[string]string{"helmfile.yaml": fmt.Sprintf(
			"releases: [{name: podinfo, chart: %s/podinfo, version: 0.0.2}]", images)}, "2"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnvironment(t, deploy.Auto)
			if err := os.RemoveAll(e.folder); err != nil {
				t.Fatal(err)
			}
			for file, text := range c.files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(e.folder, file)), 0o700); err != nil {
					t.Fatal(err)
				}
				e.write(file, text)
			}
			config := e.config()
			config.PlainHTTP = true
			out, err := deploy.Apply(t.Context(), apitest.Config(t), config)
			if err != nil {
				t.Fatal(err)
			}
			on := strings.Contains(c.files["values.yaml"], "canary")
			if fmt.Sprint(out.Changed) != "[podinfo]" || (len(out.Canaries) == 1) != on {
				t.Errorf("outcome %v, want podinfo changed, and its canary on: %v", out, on)
			}
			image := e.Deployment("podinfo").Spec.Template.Spec.Containers[0].Image
			if want := releasetest.Image(c.want); image != want {
				t.Errorf("image %s, want %s", image, want)
			}
		})
	}
}

func TestChartsThatAreNotThere(t *testing.T) {
	apitest.Config(t)
	repository, images := published(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	cases := map[string]struct{ version, repository, want string }{
		"no such version":               {"0.0.3", repository, "fetching chart podinfo 0.0.3 of " + repository + ": "},
		"no such version in a registry": {"0.0.3", images, "fetching chart podinfo 0.0.3 of " + images + ": "},
		"nothing in the range":          {"^3", images, "fetching chart podinfo ^3 of " + images + ": "},
		"a repository that is away":     {"0.0.1", gone.URL, "connection refused"},
		"another kind of address":       {"0.0.1", "ftp://127.0.0.1", "chart podinfo 0.0.1 of ftp://127.0.0.1: "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnvironment(t, deploy.Auto)
			e.write("env/Chart.yaml", fmt.Sprintf("{apiVersion: v2, name: env, version: 0.1.0, dependencies: "+
				"[{name: podinfo, version: %q, repository: %q}]}", c.version, c.repository))
			config := e.config()
			config.PlainHTTP = true
			config.Deadline /= 20
			begun := time.Now()
			_, err := deploy.Apply(t.Context(), apitest.Config(t), config)
			if err == nil || failure.Code(err) == failure.ExitOK || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v after %s, want %s", err, time.Since(begun), c.want)
			}
		})
	}
}
