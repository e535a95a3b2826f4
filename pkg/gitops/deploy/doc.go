// Package deploy applies an environment repository with Helm, and leaves what Serin holds as it is.
package deploy
