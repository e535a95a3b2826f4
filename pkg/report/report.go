package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/serin-cd/serin/pkg/judge/verdict"
)

// report is a verdict on its way to people.
type report struct{ verdict.Verdict }

// File writes verdicts to a file: as a page where that is named .html, as Markdown where it is named .md, else as
// indented JSON. An empty path writes none.
func File(path string) func(verdict.Verdict) error {
	return func(v verdict.Verdict) error {
		if path == "" {
			return nil
		}
		var text bytes.Buffer
		write := JSON
		switch filepath.Ext(path) {
		case ".html":
			write = Page
		case ".md":
			write = Markdown
		}
		if err := write(&text, v); err != nil {
			return err
		}
		if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		return nil
	}
}

// JSON writes a verdict as indented JSON.
func JSON(w io.Writer, v verdict.Verdict) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return failed(encoder.Encode(v))
}

func failed(err error) error {
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
