package report_test

import (
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// browse opens a page in headless Chromium, as somebody on call would, and returns a picture of it and the
// document as the browser understood it.
func browse(t *testing.T, page string) (picture, document string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser, which -short leaves out")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs Debian's package chromium")
	}
	address, err := filepath.Abs(page)
	if err != nil {
		t.Fatal(err)
	}
	picture = filepath.Join(t.TempDir(), "page.png")
	common := []string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1100,2600"}
	for _, do := range []string{"--screenshot=" + picture, "--dump-dom"} {
		cmd := exec.CommandContext(t.Context(), chromium, append(common, "--user-data-dir="+t.TempDir(), do,
			"file://"+address)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", do, err)
		}
		document = string(out)
	}
	return picture, document
}

func TestPageInABrowser(t *testing.T) {
	picture, document := browse(t, "testdata/worse.html")
	if plots := strings.Count(document, "<svg"); plots < 4 {
		t.Errorf("%d plots, want at least 4: weight, errors, latency, evidence", plots)
	}
	for _, loaded := range []string{"<link", "<script", "src=", "@import", "url(http"} {
		if strings.Contains(document, loaded) {
			t.Errorf("the page has %q, want nothing that is loaded from elsewhere", loaded)
		}
	}
	f, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]int{}
	wanted := map[string]color.RGBA{"canary": {0xc2, 0x41, 0x0c, 0xff}, "primary": {0x1d, 0x4e, 0xd8, 0xff}}
	for y := page.Bounds().Min.Y; y < page.Bounds().Max.Y; y++ {
		for x := page.Bounds().Min.X; x < page.Bounds().Max.X; x++ {
			for name, c := range wanted {
				if color.RGBAModel.Convert(page.At(x, y)) == c {
					drawn[name]++
				}
			}
		}
	}
	for name := range wanted {
		if drawn[name] < 200 {
			t.Errorf("%d pixels of the %s's colour, want a line through each plot", drawn[name], name)
		}
	}
}
