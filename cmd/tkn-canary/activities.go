package main

import "github.com/spf13/cobra"

func activities() *cobra.Command { return &cobra.Command{Use: "activities"} }
