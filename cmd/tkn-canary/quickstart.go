package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serin-cd/serin/internal/quickstart"
)

func quickstarts() *cobra.Command {
	app, directory := quickstart.Application{}, ""
	cmd := &cobra.Command{
		Use:   "quickstart NAME",
		Short: "Write a new application, ready to be released by canary",
		Long: `Write a small web server, how its image is built without Docker, its Helm chart with
the canary block, the run that releases it, and the template that starts that run at a push.`,
		Example: `  tkn canary quickstart shop --pack go-http --registry registry.example.com/shop`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app.Name = args[0]
			app.Registry = cmp.Or(app.Registry, "registry.example.com/"+app.Name)
			app.Git = cmp.Or(app.Git, "https://git.example.com/"+app.Name+".git")
			into := cmp.Or(directory, app.Name)
			names, err := quickstart.Write(app, into)
			for _, name := range names {
				fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(into, name))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&app.Pack, "pack", "", "kind of application: "+strings.Join(quickstart.Packs, " or "))
	f.StringVar(&directory, "directory", "", "where to write it, empty or new (default: NAME)")
	f.StringVar(&app.Registry, "registry", "", "repository of its images")
	f.StringVar(&app.Git, "git", "", "URL of its git repository")
	return cmd
}
