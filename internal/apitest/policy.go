package apitest

import (
	"context"
	"fmt"
	"testing"

	admission "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Deny has the API server refuse to make objects of a kind in a namespace, with a message, until the test ends. It
// returns once it does.
func Deny(t testing.TB, namespace, group, resource, message string) {
	t.Helper()
	client := Client(t).AdmissionregistrationV1()
	fail, name := admission.Fail, namespace+"-"+resource
	rule := admission.RuleWithOperations{Operations: []admission.OperationType{admission.Create},
		Rule: admission.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: []string{resource}}}
	policy := &admission.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admission.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admission.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
					"kubernetes.io/metadata.name": namespace}},
				ResourceRules: []admission.NamedRuleWithOperations{{RuleWithOperations: rule}},
			},
			Validations: []admission.Validation{{Expression: "false", Message: message}},
		}}
	if _, err := client.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &admission.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admission.ValidatingAdmissionPolicyBindingSpec{PolicyName: name,
			ValidationActions: []admission.ValidationAction{admission.Deny}}}
	if _, err := client.ValidatingAdmissionPolicyBindings().Create(t.Context(), binding,
		metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.ValidatingAdmissionPolicyBindings().Delete(context.Background(), name, metav1.DeleteOptions{})
		_ = client.ValidatingAdmissionPolicies().Delete(context.Background(), name, metav1.DeleteOptions{})
	})
	objects, err := dynamic.NewForConfig(Config(t))
	if err != nil {
		t.Fatal(err)
	}
	version := schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}
	probe := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
	probe.SetAPIVersion(version.GroupVersion().String())
	probe.SetKind(map[string]string{"pods": "Pod", "leases": "Lease", "services": "Service"}[resource])
	probe.SetName("probe")
	if resource == "pods" {
		probe.Object["spec"] = map[string]any{"containers": []any{map[string]any{"name": "probe", "image": "probe"}}}
	}
	Eventually(t, func(ctx context.Context) error {
		_, err := objects.Resource(version).Namespace(namespace).Create(ctx, probe,
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return fmt.Errorf("%s can be made still", resource)
		}
		return nil
	})
}
