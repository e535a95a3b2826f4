// Package forgetest gives test packages a real git forge: Gitea, a process on the loopback interface, with users,
// tokens and repositories. SERIN_FORGE names the directory with the program gitea and its folder source; without it the
// tests are skipped.
package forgetest
