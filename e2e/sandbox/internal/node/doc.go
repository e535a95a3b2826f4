// Package node runs the machine that a cluster lives on: namespaces of its own, with a supervisor as their first
// process.
//
// Two processes stand behind it, both this same program under another name (see reexec). The keeper stays outside; it
// makes the namespaces, joins them to the host by a veth pair, and takes everything away when it is told to, or when
// the program that started it dies. The supervisor is PID 1 inside; it starts the components again when they end. It
// cannot outlive the keeper: the kernel kills it then, and all processes and mounts with it.
package node
