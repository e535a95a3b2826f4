package apitest

import (
	"os"
	"path/filepath"
)

// policy leaves out the controllers, which make most of the calls.
const policy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["` + controllers + `"]}
- {level: Metadata}
`

// audit makes the server keep an audit log, and returns the flags for it.
func (s *Server) audit() ([]string, error) {
	file := filepath.Join(s.dir, "audit-policy.yaml")
	s.AuditLog = filepath.Join(s.dir, "audit.json")
	return []string{"--audit-policy-file=" + file, "--audit-log-path=" + s.AuditLog},
		os.WriteFile(file, []byte(policy), 0o600)
}
