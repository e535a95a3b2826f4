// Package config holds the YAML of the account that releases.
package config

import _ "embed"

// RBAC is the ServiceAccount, its Role and the binding, for one namespace.
//
//go:embed rbac.yaml
var RBAC []byte
