// Package demo plays a release that is promoted and one that is taken back, and shows it in the terminal.
package demo
