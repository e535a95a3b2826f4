// Package promotion brings a version of an application into an environment by a pull request on the environment's
// repository, and back out of it.
package promotion
