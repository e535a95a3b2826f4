package deploy_test

import (
	"testing"

	"k8s.io/client-go/rest"

	"github.com/serin-cd/serin/internal/apitest"
)

// rights are all that Helm needs for the chart of the tests, in one namespace, and to see what Serin holds.
const rights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: environment}
rules:
  - {apiGroups: [""], resources: [secrets], verbs: [get, list, create, update, delete]}
  - {apiGroups: [""], resources: [services], verbs: [get, create, patch, delete]}
  - {apiGroups: [apps], resources: [deployments], verbs: [get, list, create, patch, delete]}
  - {apiGroups: [networking.istio.io], resources: [virtualservices], verbs: [get, list, create, patch, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: environment}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: environment}
subjects: [{kind: ServiceAccount, name: default}]
`

func TestRightsInOneNamespaceAreEnough(t *testing.T) {
	modes(t, func(t *testing.T, e *environment) {
		apitest.Apply(t, e.Namespace, []byte(rights))
		config := apitest.Config(t)
		config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + e.Namespace + ":default"}
		e.applyThrough(config, `version: "1", route: split`, "podinfo")
		e.First()
		e.applyThrough(config, `version: "2", route: split, owner: bob`, "podinfo")
		e.applyThrough(config, `version: "2", route: split, owner: bob, canary: {enabled: true}`)
	})
}
