// Package environments reads which environments a team promotes to, and where their repositories are.
package environments
