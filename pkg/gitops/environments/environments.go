package environments

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/gitops/splice"
	"github.com/serin-cd/serin/pkg/task/failure"
)

// A team lists its environments in a ConfigMap, in the namespace of its Pipelines, and keeps that in git.
const (
	ConfigMap = "serin-environments"
	Key       = "environments.yaml"
)

// Promotion says who decides that a version comes into an environment.
type Promotion string

// The promotions.
const (
	Auto   Promotion = "auto"   // the pull request is merged once its checks have passed
	Manual Promotion = "manual" // a person merges it
)

// Environment is a place that applications are promoted to.
type Environment struct {
	Name      string    `json:"name"`
	GitURL    string    `json:"gitUrl"`    // of the repository, without any secret
	Branch    string    `json:"branch"`    // that is applied; main if the list does not say
	Directory string    `json:"directory"` // of the repository that holds the environment; . if the list does not say
	Namespace string    `json:"namespace"` // that the applications live in; the name if the list does not say
	Promotion Promotion `json:"promotion"` // manual if the list does not say
}

// Read reads the list of a namespace, in its order. A namespace without one has no environments.
func Read(ctx context.Context, cluster *kube.Cluster, namespace string) ([]Environment, error) {
	var object *unstructured.Unstructured
	err := kube.Retry(ctx, func(ctx context.Context) (err error) {
		object, err = cluster.Objects(kube.ConfigMaps, namespace).Get(ctx, ConfigMap, metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	name := fmt.Sprintf("ConfigMap %s of namespace %s", ConfigMap, namespace)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	var found corev1.ConfigMap
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &found); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	text, ok := found.Data[Key]
	if !ok {
		return nil, failure.Configf("reading %s: it has no key %s, want the list of the environments there", name, Key)
	}
	return Parse(name+", "+Key, []byte(text))
}

// Parse reads a list. The name is for errors, which tell of the line.
func Parse(name string, text []byte) ([]Environment, error) {
	f, err := splice.Read(name, text)
	if err != nil {
		return nil, err
	}
	documents := f.Documents()
	if len(documents) == 0 {
		return nil, nil
	}
	if len(documents) > 1 {
		return nil, documents[1].Refusef("a second document begins, want one")
	}
	items := documents[0].Items()
	if len(items) == 0 && len(documents[0].Keys()) > 0 {
		return nil, documents[0].Refusef("want a list, whose items begin with - name")
	}
	var all []Environment
	for _, item := range items {
		e, err := read(item)
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			switch {
			case other.Name == e.Name:
				return nil, item.Refusef("is the second with the name %s, want another", e.Name)
			case other.GitURL == e.GitURL && other.Branch == e.Branch && other.Directory == e.Directory:
				return nil, item.Refusef("%s has the repository, branch and directory of %s: want one of them another",
					e.Name, other.Name)
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// field is one of an environment, with what it is if it is not there, and what is wrong with it.
type field struct {
	key   string
	to    *string
	check func(string) error
}

func read(item splice.Value) (Environment, error) {
	e := Environment{Branch: "main", Directory: ".", Promotion: Manual}
	promotion := string(e.Promotion)
	fields := []field{
		{"name", &e.Name, label}, {"git-url", &e.GitURL, remote}, {"branch", &e.Branch, branch},
		{"directory", &e.Directory, directory}, {"namespace", &e.Namespace, label}, {"promotion", &promotion, promoted},
	}
	var known []string
	for _, f := range fields {
		known = append(known, f.key)
	}
	for _, key := range item.Keys() {
		if !slices.Contains(known, key) {
			return e, item.Refusef("has %s, want some of %s", key, strings.Join(known, ", "))
		}
	}
	for _, f := range fields {
		v, err := item.Get(f.key)
		if errors.Is(err, splice.ErrAbsent) {
			continue
		}
		if err != nil {
			return e, err
		}
		if *f.to, err = v.Scalar(); err != nil {
			return e, err
		}
		if err := f.check(*f.to); err != nil {
			return e, v.Refusef("%w", err)
		}
	}
	if e.Name == "" || e.GitURL == "" {
		return e, item.Refusef("is an environment without name or git-url, want both")
	}
	if e.Namespace == "" {
		e.Namespace = e.Name
	}
	e.Directory, e.Promotion = path.Clean(e.Directory), Promotion(promotion)
	return e, nil
}

func label(text string) error {
	if problems := validation.IsDNS1123Label(text); len(problems) > 0 {
		return fmt.Errorf("is %q, want a name such as staging: %s", text, problems[0])
	}
	return nil
}

// secure shells have addresses such as git@host:team/repository.git, too.
var secure = regexp.MustCompile(`^[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^/:\s][^:\s]*$`)

// remote never repeats an address, which may have a secret.
func remote(text string) error {
	if secure.MatchString(text) {
		return nil
	}
	at, err := url.Parse(text)
	if err != nil || at.Host == "" || !slices.Contains([]string{"http", "https", "ssh"}, at.Scheme) {
		return errors.New("is no address of a repository, want one such as https://git.example.com/team/staging.git")
	}
	if _, secret := at.User.Password(); secret || at.User != nil && at.Scheme != "ssh" {
		return errors.New("has a user or a secret in it, want it without: the Pipelines take their credentials " +
			"from a workspace")
	}
	return nil
}

// what git refuses in the name of a branch, as far as people get it wrong.
var unfit = regexp.MustCompile(`^[-/.]|[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|//|@\{|[/.]$|\.lock$`)

func branch(text string) error {
	if text == "" || unfit.MatchString(text) {
		return fmt.Errorf("is %q, want the name of a branch", text)
	}
	return nil
}

func directory(text string) error {
	if clean := path.Clean(text); text == "" || path.IsAbs(text) || clean == ".." || strings.HasPrefix(clean, "../") {
		return fmt.Errorf("is %q, want a directory of the repository", text)
	}
	return nil
}

func promoted(text string) error {
	if p := Promotion(text); p != Auto && p != Manual {
		return fmt.Errorf("is %q, want %s or %s", text, Auto, Manual)
	}
	return nil
}

// Named is the one of a name.
func Named(all []Environment, name string) (Environment, error) {
	var known []string
	for _, e := range all {
		if e.Name == name {
			return e, nil
		}
		known = append(known, e.Name)
	}
	if len(known) == 0 {
		return Environment{}, failure.Configf("looking for environment %s: there are none: list them in ConfigMap %s",
			name, ConfigMap)
	}
	return Environment{}, failure.Configf("looking for environment %s: want one of %s", name, strings.Join(known, ", "))
}
