package rights

import (
	"bytes"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/serin-cd/serin/pkg/cluster/application"
)

// Accounts are the names of the two ServiceAccounts of an application. No name of an application has a dot, so none
// is another's.
func Accounts(app application.Application) (release, stage string) {
	return "serin-" + app.Name, "serin-" + app.Name + ".stage"
}

// Write is YAML with the accounts of an application, their Roles and bindings. A namespace that is empty is that in
// which they are applied. stages are the names of the tasks that run as the second account.
// virtualServices are as in Release.
func Write(app application.Application, stages []string, virtualServices ...string) ([]byte, error) {
	release, stage := Accounts(app)
	var b bytes.Buffer
	fmt.Fprintf(&b, "# The accounts that release %s, limited to the names of its objects. RBAC cannot limit create "+
		"and list to names,\n# and the names of pods, runs and reports are not known before: rules without "+
		"resourceNames hold for the namespace.\n"+
		"# Start runs with taskRunTemplate.serviceAccountName: %s", app.Name, release)
	if len(stages) > 0 {
		fmt.Fprintf(&b, "\n# and taskRunSpecs with serviceAccountName: %s for %s", stage, strings.Join(stages, ", "))
	}
	b.WriteString(".\n")
	rules, err := Release(app, virtualServices...)
	if err != nil {
		return nil, err
	}
	if err := write(&b, app, release, rules); err != nil || len(stages) == 0 {
		return b.Bytes(), err
	}
	if rules, err = Stage(app, virtualServices...); err != nil {
		return nil, err
	}
	b.WriteString("---\n")
	err = write(&b, app, stage, rules)
	return b.Bytes(), err
}

// write adds an account with its rights.
func write(b *bytes.Buffer, app application.Application, name string, rules []rbac.PolicyRule) error {
	meta := metav1.ObjectMeta{Name: name, Namespace: app.Namespace, Labels: map[string]string{
		application.Label: app.Name, "app.kubernetes.io/part-of": "serin"}}
	account := metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}
	of := func(kind string) metav1.TypeMeta {
		return metav1.TypeMeta{APIVersion: rbac.SchemeGroupVersion.String(), Kind: kind}
	}
	for i, object := range []any{
		&corev1.ServiceAccount{TypeMeta: account, ObjectMeta: meta},
		&rbac.Role{TypeMeta: of("Role"), ObjectMeta: meta, Rules: rules},
		&rbac.RoleBinding{TypeMeta: of("RoleBinding"), ObjectMeta: meta,
			RoleRef:  rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: name},
			Subjects: []rbac.Subject{{Kind: account.Kind, Name: name, Namespace: app.Namespace}}},
	} {
		text, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("writing the rights of %s: %w", name, err)
		}
		if i > 0 {
			b.WriteString("---\n")
		}
		b.Write(text)
	}
	return nil
}
