package main

import (
	"io"
	"log/slog"
	"os"

	"github.com/stelemq/stele/internal/config"
)

// newLogger writes messages to w in the form that the settings ask for, from a level on that may change.
func newLogger(w io.Writer, s *config.Settings, level *slog.LevelVar) *slog.Logger {
	setLevel(level, s.LogLevel)
	options := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "text" || s.LogFormat == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// setLevel follows log.level; the schema allows four words.
func setLevel(level *slog.LevelVar, word string) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(word)); err == nil {
		level.Set(l)
	}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
