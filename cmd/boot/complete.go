package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/phases"
)

// completionLimit is how long somebody who has pressed TAB is kept waiting for names
// that the cluster has.
const completionLimit = 2 * time.Second

// A completion returns what may come next on a command line.
type completion = func(c *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeNames completes at most as many arguments by names that are looked up when
// they are needed, none of them twice. Nobody is told why there are none: whoever
// runs the command will be.
func completeNames(most int, look func(ctx context.Context) ([]cobra.Completion, error)) completion {
	return func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completionLimit)
		defer cancel()
		all, err := look(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(all, func(entry cobra.Completion) bool {
			name, _, _ := strings.Cut(entry, "\t")
			return slices.Contains(args, name)
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFormats completes -o of all commands that have not done so, where it is
// for a format.
func completeFormats(c *cobra.Command) {
	for _, sub := range c.Commands() {
		completeFormats(sub)
	}
	if f := c.Flags().Lookup("output"); f != nil && strings.Contains(f.Usage, "json or yaml") {
		_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	}
}

// completeTokens completes the IDs of tokens.
func completeTokens(kubeconfig *string) completion {
	const many = 100
	return completeNames(many, func(ctx context.Context) ([]cobra.Completion, error) {
		tokens, err := phases.OpenTokens(*kubeconfig)
		if err != nil {
			return nil, err
		}
		list, err := tokens.List(ctx)
		var all []cobra.Completion
		for _, t := range list {
			all = append(all, cobra.CompletionWithDesc(t.ID, t.Description))
		}
		return all, err
	})
}

// completeMembers completes the name of a member of etcd.
func completeMembers(f *etcdFlags) completion {
	return completeNames(1, func(ctx context.Context) ([]cobra.Completion, error) {
		cluster, err := f.cluster()
		if err != nil {
			return nil, err
		}
		defer func() { _ = cluster.Close() }()
		members, err := cluster.MembersSeen(ctx)
		var all []cobra.Completion
		for _, m := range members {
			all = append(all, m.String())
		}
		return all, err
	})
}

// completeOwnName completes the name of the node that this host is.
func completeOwnName() completion {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		name, err := ownName()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []cobra.Completion{name}, cobra.ShellCompDirectiveNoFileComp
	}
}
