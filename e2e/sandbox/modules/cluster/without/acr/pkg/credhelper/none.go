// Package credhelper stands in for the credentials of Azure's registry, which no image comes from in a sandbox.
package credhelper

import "errors"

// Helper has no credentials.
type Helper struct{}

// NewACRCredentialsHelper returns a helper without credentials.
func NewACRCredentialsHelper() *Helper { return &Helper{} }

// Get fails, as it does for any other registry.
func (*Helper) Get(string) (user, password string, err error) {
	return "", "", errors.New("the sandbox knows no registry of Azure's")
}
