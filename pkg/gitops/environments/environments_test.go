package environments_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/internal/apitest"
	"github.com/serin-cd/serin/pkg/cluster/kube"
	"github.com/serin-cd/serin/pkg/gitops/environments"
	"github.com/serin-cd/serin/pkg/task/failure"
)

func TestMain(m *testing.M) { apitest.Main(m) }

const list = `
# In the order of promotion.
- name: staging
  git-url: https://git.example.com/team/environments.git
  directory: staging/
  promotion: auto
- name: production
  git-url: git@git.example.com:team/production.git
  branch: live
  namespace: shop
- {name: remote, git-url: "ssh://git@git.example.com/team/remote"}
`

var listed = []environments.Environment{
	{Name: "staging", GitURL: "https://git.example.com/team/environments.git", Branch: "main", Directory: "staging",
		Namespace: "staging", Promotion: environments.Auto},
	{Name: "production", GitURL: "git@git.example.com:team/production.git", Branch: "live", Directory: ".",
		Namespace: "shop", Promotion: environments.Manual},
	{Name: "remote", GitURL: "ssh://git@git.example.com/team/remote", Branch: "main", Directory: ".",
		Namespace: "remote", Promotion: environments.Manual},
}

func TestRead(t *testing.T) {
	cluster, err := kube.New(apitest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	namespace := apitest.Namespace(t)
	got, err := environments.Read(t.Context(), cluster, namespace)
	if err != nil || len(got) != 0 {
		t.Errorf("without a list %v, error %v, want none", got, err)
	}
	maps := apitest.Client(t).CoreV1().ConfigMaps(namespace)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: environments.ConfigMap},
		Data: map[string]string{"staging": ""}}
	if object, err = maps.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = environments.Read(t.Context(), cluster, namespace)
	want := "reading ConfigMap serin-environments of namespace " + namespace +
		": it has no key environments.yaml, want the list of the environments there"
	if failure.Code(err) != failure.ExitConfig || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	object.Data = map[string]string{environments.Key: list}
	if _, err := maps.Update(t.Context(), object, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err = environments.Read(t.Context(), cluster, namespace)
	if diff := cmp.Diff(listed, got); err != nil || diff != "" {
		t.Errorf("error %v, other environments (-want +got):\n%s", err, diff)
	}
}

func TestParseRefuses(t *testing.T) {
	const staging = "- name: staging\n  git-url: https://git.example.com/team/staging\n"
	cases := map[string]struct{ list, want string }{
		"a mapping": {"staging: {}\n", "line 1: want a list, whose items begin with - name"},
		"no name": {"- git-url: https://git.example.com/x\n",
			"line 1: [0] is an environment without name or git-url"},
		"no repository": {"- name: x\n", "line 1: [0] is an environment without name or git-url, want both"},
		"unknown key": {staging + "  branhc: x\n",
			"line 1: [0] has branhc, want some of name, git-url, branch, directory"},
		"wrong name": {"- name: Staging\n  git-url: https://git.example.com/x\n",
			`line 1: [0].name is "Staging", want a name such as staging`},
		"wrong namespace": {staging + "  namespace: a.b\n", `line 3: [0].namespace is "a.b", want a name`},
		"wrong promotion": {staging + "  promotion: Never\n", `line 3: [0].promotion is "Never", want auto or manual`},
		"wrong branch":    {staging + "  branch: a b\n", `line 3: [0].branch is "a b", want the name of a branch`},
		"outside":         {staging + "  directory: ../x\n", `line 3: [0].directory is "../x", want a directory`},
		"absolute":        {staging + "  directory: /x\n", `line 3: [0].directory is "/x", want a directory`},
		"a list of names": {"- staging\n", "line 1: [0] is an environment without name or git-url, want both"},
		"twice":           {staging + staging, "line 3: [1] is the second with the name staging"},
		"same place": {staging + strings.Replace(staging, "name: staging", "name: other", 1),
			"line 3: [1] other has the repository, branch and directory of staging"},
		"two documents": {staging + "---\n" + staging, "line 4: a second document begins, want one"},
		"no address":    {"- {name: a, git-url: /srv/git}\n", "line 1: [0].git-url is no address of a repository"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := environments.Parse("list", []byte(c.list))
			if failure.Code(err) != failure.ExitConfig || !strings.HasPrefix(err.Error(), "reading list, "+c.want) {
				t.Errorf("error %v, want reading list, %s", err, c.want)
			}
		})
	}
}

// TestParseKeepsSecrets wants an address with a secret refused, and the secret not told.
func TestParseKeepsSecrets(t *testing.T) {
	for _, address := range []string{"https://bot:hunter2@git.example.com/x", "https://hunter2@git.example.com/x",
		"ssh://git:hunter2@git.example.com/x", "https://bot:hunter2@git.example.com:port/x"} {
		_, err := environments.Parse("list", []byte("- name: staging\n  git-url: "+address+"\n"))
		if failure.Code(err) != failure.ExitConfig || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %v, want a refusal that does not tell it", address, err)
		}
	}
}

// TestThePage reads the list of the page.
func TestThePage(t *testing.T) {
	text, err := os.ReadFile("../../../docs/environments.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "```yaml\n")
	manifest, _, _ := strings.Cut(after, "```")
	var object corev1.ConfigMap
	if err := yaml.UnmarshalStrict([]byte(manifest), &object); err != nil || object.Name != environments.ConfigMap {
		t.Fatalf("ConfigMap %q, error %v", object.Name, err)
	}
	got, err := environments.Parse("the page", []byte(object.Data[environments.Key]))
	want := []environments.Environment{
		{Name: "staging", GitURL: "https://git.example.com/team/environment-staging.git", Branch: "main",
			Directory: ".", Namespace: "staging", Promotion: environments.Auto},
		{Name: "production", GitURL: "https://git.example.com/team/environment-production.git", Branch: "main",
			Directory: ".", Namespace: "shop", Promotion: environments.Manual},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, other environments (-want +got):\n%s", err, diff)
	}
}

func TestNamed(t *testing.T) {
	got, err := environments.Named(listed, "production")
	if err != nil || got != listed[1] {
		t.Errorf("%v, error %v, want %v", got, err, listed[1])
	}
	for want, all := range map[string][]environments.Environment{
		"looking for environment prod: want one of staging, production, remote":                   listed,
		"looking for environment prod: there are none: list them in ConfigMap serin-environments": nil,
	} {
		if _, err := environments.Named(all, "prod"); failure.Code(err) != failure.ExitConfig || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
