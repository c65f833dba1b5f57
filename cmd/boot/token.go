package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"boot.internal/config"
	"boot.internal/hint"
	"boot.internal/phases"
)

func newToken(ui *ui) *cobra.Command {
	var kubeconfig string
	c := &cobra.Command{
		Use:   "token",
		Short: "See, make and remove the tokens that nodes join with",
		Long: `See, make and remove the bootstrap tokens that nodes join with. Run it on a
control plane, or name an administrator's kubeconfig.`,
		Example: `  boot token create --print-join-command
  boot token list
  boot token delete abcdef`,
		Args: noArgs,
	}
	c.PersistentFlags().StringVar(&kubeconfig, "kubeconfig", filepath.Join(phases.DefaultDirs().Kubernetes, "admin.conf"), "kubeconfig `file` of an administrator")
	_ = c.MarkPersistentFlagFilename("kubeconfig")
	c.AddCommand(newTokenCreate(ui, &kubeconfig), newTokenList(ui, &kubeconfig), newTokenDelete(ui, &kubeconfig), newTokenGenerate(ui))
	return c
}

// tokenFlags are the flags of "boot token create", named as kubeadm's.
type tokenFlags struct {
	config.TokenOptions
	printJoin      bool
	certificateKey string
}

func newTokenCreate(ui *ui, kubeconfig *string) *cobra.Command {
	var f tokenFlags
	c := &cobra.Command{
		Use:   "create [TOKEN]",
		Short: "Make a token, and print it",
		Example: `  # The whole command for one more worker
  boot token create --print-join-command

  # For one hour, and with another description
  boot token create --ttl 1h --description "rack 7"`,
		Args: atMostOneArg,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.Token = config.Secret(args[0])
			}
			return createToken(c.Context(), ui, *kubeconfig, f)
		},
	}
	p := c.Flags()
	p.DurationVar(&f.TTL, "ttl", 24*time.Hour, "`duration` after which the token ends; 0 for never")
	p.StringVar(&f.Description, "description", "", "`text` for people")
	p.StringSliceVar(&f.Usages, "usages", nil, "`uses` of the token: signing, authentication (default both)")
	p.StringSliceVar(&f.Groups, "groups", nil, "`groups` its bearer is in (default that of joining nodes)")
	p.BoolVar(&f.printJoin, "print-join-command", false, "print the whole command with which a node joins")
	p.StringVar(&f.certificateKey, "certificate-key", "", "`key` to put into that command, for one more control plane")
	return c
}

func createToken(ctx context.Context, ui *ui, kubeconfig string, f tokenFlags) error {
	token, err := config.NewBootstrapToken(f.TokenOptions)
	if err != nil {
		return withCode(exitValidation, err)
	}
	if f.certificateKey != "" && !f.printJoin {
		return withCode(exitValidation, hint.With(errors.New("--certificate-key is part of a command that is not asked for"), "add --print-join-command"))
	}
	tokens, err := phases.OpenTokens(kubeconfig)
	if err != nil {
		return err
	}
	if err := tokens.Create(ctx, token); err != nil {
		return err
	}
	if !f.printJoin {
		ui.printf("%s\n", token.Token.Reveal())
		return nil
	}
	args, err := tokens.JoinCommand(ctx, token.Token)
	if err != nil {
		return err
	}
	if f.certificateKey != "" {
		args = append(args, "--control-plane", "--certificate-key", f.certificateKey)
	}
	ui.printf("boot %s\n", strings.Join(args, " "))
	return nil
}

func newTokenGenerate(ui *ui) *cobra.Command {
	return &cobra.Command{
		Use:   "generate",
		Short: "Print a new token, without making it known to any cluster",
		Long: `Print a new token, without making it known to any cluster: for scripts that need it
before there is one. "boot init --token" and "boot token create" take it.`,
		Example: "  boot token generate",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			token, err := config.NewBootstrapToken(config.TokenOptions{})
			if err != nil {
				return err
			}
			ui.printf("%s\n", token.Token.Reveal())
			return nil
		},
	}
}

func newTokenDelete(ui *ui, kubeconfig *string) *cobra.Command {
	return &cobra.Command{
		Use:               "delete ID...",
		Short:             "Remove tokens, each named by itself or by what is before its dot",
		Example:           "  boot token delete abcdef",
		ValidArgsFunction: completeTokens(kubeconfig),
		Args: func(c *cobra.Command, args []string) error {
			return withCode(exitValidation, cobra.MinimumNArgs(1)(c, args))
		},
		RunE: func(c *cobra.Command, args []string) error {
			tokens, err := phases.OpenTokens(*kubeconfig)
			if err != nil {
				return err
			}
			for _, arg := range args {
				id, _, _ := strings.Cut(arg, ".")
				if err := tokens.Delete(c.Context(), id); err != nil {
					return err
				}
				ui.printf("token %s is removed\n", id)
			}
			return nil
		},
	}
}

// A listedToken is a token as it is printed.
type listedToken struct {
	ID          string     `json:"id"`
	Expires     *time.Time `json:"expires,omitempty"`
	Usages      []string   `json:"usages"`
	Groups      []string   `json:"groups,omitempty"`
	Description string     `json:"description,omitempty"`
}

func newTokenList(ui *ui, kubeconfig *string) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the tokens, without their secrets",
		Example: "  boot token list\n  boot token list -o json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			tokens, err := phases.OpenTokens(*kubeconfig)
			if err != nil {
				return err
			}
			all, err := tokens.List(c.Context())
			if err != nil {
				return err
			}
			if output != "" {
				return ui.object(output, listedTokens(all))
			}
			return ui.tokens(all)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`format`: json or yaml; a table if not set")
	return c
}

func listedTokens(all []phases.Token) []listedToken {
	listed := []listedToken{}
	for _, t := range all {
		l := listedToken{ID: t.ID, Usages: t.Usages, Groups: t.Groups, Description: t.Description}
		if !t.Expires.IsZero() {
			l.Expires = &t.Expires
		}
		listed = append(listed, l)
	}
	return listed
}

// tokens prints a table.
func (u *ui) tokens(all []phases.Token) error {
	table := tabwriter.NewWriter(u.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tEXPIRES\tUSAGES\tDESCRIPTION")
	for _, t := range all {
		end := "never"
		if !t.Expires.IsZero() {
			end = t.Expires.UTC().Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", t.ID, end, strings.Join(t.Usages, ","), t.Description)
	}
	return table.Flush()
}
