// Package forge asks what hosts the git repositories of a team for pull requests: GitHub, GitLab, Gitea, Bitbucket.
package forge
