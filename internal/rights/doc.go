// Package rights limits the accounts that release one application to the names of its objects.
package rights
