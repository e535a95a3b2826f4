// Package hashivault stands in for the client of Vault, which nobody calls in a sandbox and which compiles for long.
package hashivault
