package step

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTimeZone(t *testing.T) {
	for name, test := range map[string]struct{ link, file, want string }{
		"Debian":        {link: "/usr/share/zoneinfo/Europe/Berlin", want: "Europe/Berlin"},
		"NixOS":         {link: "/etc/zoneinfo/America/Argentina/Ushuaia", want: "America/Argentina/Ushuaia"},
		"relative":      {link: "../usr/share/zoneinfo/UTC", want: "UTC"},
		"a copy":        {file: "Asia/Kolkata\n", want: "Asia/Kolkata"},
		"another link":  {link: "/srv/time", file: "Asia/Kolkata\n", want: "Asia/Kolkata"},
		"not specified": {},
	} {
		t.Run(name, func(t *testing.T) {
			etc := t.TempDir()
			if test.link != "" {
				if err := os.Symlink(test.link, filepath.Join(etc, "localtime")); err != nil {
					t.Fatal(err)
				}
			}
			if test.file != "" {
				if err := os.WriteFile(filepath.Join(etc, "timezone"), []byte(test.file), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got := timeZone(etc); got != test.want {
				t.Errorf("timeZone() = %q, want %q", got, test.want)
			}
		})
	}
}
