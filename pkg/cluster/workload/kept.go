package workload

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"

	"k8s.io/apimachinery/pkg/util/json"

	"github.com/serin-cd/serin/pkg/cluster/application"
)

const (
	// mostKept is how many bytes the annotation with a primary's previous template may have.
	mostKept = 64 << 10
	// mostAnnotations is how many bytes all annotations of the primary may then have together. Kubernetes allows
	// 256 KiB; the rest is for those that others add.
	mostAnnotations = 192 << 10
	// mostUnpacked is how many bytes a template may have: more than Kubernetes stores of an object.
	mostUnpacked = 4 << 20
)

// keepsake is a pod template as an annotation holds it.
type keepsake struct {
	Revision string `json:"revision"` // that the primary was promoted to
	Sum      string `json:"sha256"`   // of the template in canonical JSON
	Template []byte `json:"template"` // JSON, gzip
}

// keep is the primary's present template as an annotation, so that undoing a promotion needs no ReplicaSet: somebody
// may lower revisionHistoryLimit or delete one. It says no where the annotation would be too large.
func keep(primary *Deployment) (string, bool) {
	text, err := pack(primary)
	if err != nil {
		slog.Warn("the primary's previous template is not kept on it: undoing needs its ReplicaSet", "deployment",
			primary.Name, "error", err.Error())
	}
	return text, err == nil
}

func pack(primary *Deployment) (string, error) {
	template, err := json.Marshal(primary.template())
	if err != nil {
		return "", err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(template); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	text, err := json.Marshal(keepsake{primary.Promoted(), revisionOf(primary.template()), packed.Bytes()})
	if err != nil {
		return "", err
	}
	total := len(application.TemplateAnnotation) + len(text)
	for key, value := range primary.Annotations {
		if key != application.TemplateAnnotation {
			total += len(key) + len(value)
		}
	}
	if len(text) > mostKept || total > mostAnnotations {
		return "", fmt.Errorf("annotation %s would have %d bytes, all annotations %d, want at most %d and %d",
			application.TemplateAnnotation, len(text), total, mostKept, mostAnnotations)
	}
	return string(text), nil
}

// kept is the template of a revision that a primary's promotion has kept, nil where it has none of that revision. One
// that is not what was kept is an error.
func kept(primary *Deployment, revision string) (map[string]any, error) {
	text, there := primary.Annotations[application.TemplateAnnotation]
	if !there {
		return nil, nil
	}
	var k keepsake
	err := json.Unmarshal([]byte(text), &k)
	if err == nil && k.Revision != revision {
		return nil, nil
	}
	var template map[string]any
	if err == nil {
		template, err = unpack(k.Template)
	}
	if err == nil && revisionOf(template) != k.Sum {
		err = fmt.Errorf("the template has sha256 %.12s, want %.12s", revisionOf(template), k.Sum)
	}
	if err != nil {
		return nil, fmt.Errorf("reading annotation %s of Deployment %s: %w", application.TemplateAnnotation,
			primary.Name, err)
	}
	return template, nil
}

func unpack(packed []byte) (map[string]any, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, mostUnpacked))
	if err != nil {
		return nil, err
	}
	var template map[string]any
	return template, json.Unmarshal(text, &template)
}
