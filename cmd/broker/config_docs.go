package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stelemq/stele/internal/config"
)

func newConfigDocs(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "docs [KEY...]", Short: "Explain settings",
		Example:           "  broker config docs min.insync.replicas\n  broker config docs                       # all of them, as Markdown",
		ValidArgsFunction: completeKeys,
		RunE: func(_ *cobra.Command, keys []string) error {
			text := config.Markdown()
			if len(keys) > 0 {
				var all []string
				for _, k := range keys {
					one, ok := config.Describe(k)
					if !ok {
						return noSuchKey(k)
					}
					all = append(all, one)
				}
				text = strings.Join(all, "\n")
			}
			if _, err := io.WriteString(s.out, text); err != nil {
				return fmt.Errorf("print: %w", err)
			}
			return nil
		},
	}
}

func noSuchKey(key string) error {
	text := ""
	if near := config.Suggest(key, config.Names()); near != "" {
		text = fmt.Sprintf(" — did you mean %q?", near)
	}
	return &codeError{exitFailure, fmt.Errorf("there is no setting %q%s", key, text)}
}
