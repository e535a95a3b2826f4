package recording

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestRecordAndDraw records a program that draws a bar, clears it, and ends.
func TestRecordAndDraw(t *testing.T) {
	var cast, picture bytes.Buffer
	c := Cast{Columns: 20, Rows: 4, Typed: "a <b>", Faster: 1, Frame: time.Nanosecond, Last: 2 * time.Second}
	program := exec.CommandContext(t.Context(), "printf", `\033[31m███\033[2m░░\033[0m 60 %%\r\n\033[1mbold & done\033[0m`)
	if err := c.Record(&cast, program); err != nil {
		t.Fatal(err)
	}
	if err := Draw(&picture, bytes.NewReader(cast.Bytes())); err != nil {
		t.Fatal(err)
	}
	text := picture.String()
	for _, want := range []string{
		`>$ a &lt;b&gt;</text>`, `<rect x="0.0" y="-11" width="25.2" height="13" fill="#f47067"/>`,
		`width="16.8" height="13" fill="#f47067" opacity=".2"/>`, `>60 %</text>`, ` font-weight="bold">bold &amp; done</text>`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture has no %s:\n%s", want, text)
		}
	}
	for d := xml.NewDecoder(&picture); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestDrawNothing(t *testing.T) {
	for _, cast := range []string{"", "{}", "{}\n", "{}\n[1]\n", "{}\n[1,\"o\",2]\n"} {
		if err := Draw(io.Discard, strings.NewReader(cast)); err == nil {
			t.Errorf("%q was drawn, want an error", cast)
		}
	}
}
