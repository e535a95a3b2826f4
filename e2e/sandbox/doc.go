// Package sandbox runs a real one-node Kubernetes with Tekton, Istio and Prometheus on this machine.
//
// It needs root on Debian and no container registry. A test owns its sandbox:
//
//	sb, err := sandbox.Up(ctx, sandbox.Options{Name: "mine", Out: os.Stderr})
//	if err != nil { … }
//	defer sb.Down()
//	config, err := sb.REST()                      // for client-go
//	err = sb.Apply(ctx, manifest)                 // server-side apply of YAML
//	err = sb.LoadImages(ctx, "images.tar")        // written by package image
//	http.Get(sb.Gateway)                          // Envoy, with a Host header of a VirtualService
//	err = sb.Restart(ctx, "prometheus")           // or Stop, Start, Kill; see Components
//	out, err := sb.Command(ctx, "nft", "list", "tables").Output() // on the node
//
// When the program that called Up ends, in whatever way, nothing of the sandbox is left. With Options.Detach it stays
// until Down, and Attach finds it by name.
package sandbox
