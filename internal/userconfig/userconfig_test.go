package userconfig

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// home makes a home directory. A value that starts with -> is a link, with HOME for the home
// directory.
func home(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		target, link := strings.CutPrefix(text, "->")
		var err error
		if link {
			err = os.Symlink(strings.ReplaceAll(target, "HOME", dir), path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err == nil && !link {
			err = os.Chmod(path, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Links of root are trusted, and the tests may run as root.
	if os.Getuid() == 0 {
		filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error { return os.Lchown(path, 1000, 1000) })
	}
	return dir
}

// TestCopy checks what is copied and what is not, above all behind links.
func TestCopy(t *testing.T) {
	for name, c := range map[string]struct {
		files    map[string]string
		shared   string   // in the home directory
		want     []string // files
		warnings []string // parts of them
	}{
		"nothing": {},
		"only what is written for Claude": {
			files: map[string]string{
				".claude/CLAUDE.md": "1", ".claude/skills/a/SKILL.md": "2", ".claude/skills/a/.git/config": "password", ".claude/commands/b/c.md": "3",
				".claude/agents/d.md": "4", ".claude/output-styles/e.md": "5",
				".claude/settings.json": "x", ".claude/.credentials.json": "x", ".claude/history.jsonl": "x", ".claude/hooks/h": "x", ".claude/projects/p": "x",
			},
			want: []string{"CLAUDE.md", "agents/d.md", "commands/b/c.md", "output-styles/e.md", "skills/a/SKILL.md"},
		},
		"links of a manager of dotfiles": {
			files: map[string]string{
				".claude/CLAUDE.md": "->../dotfiles/claude.md", ".claude/skills": "->HOME/dotfiles/skills", ".claude/agents/a.md": "->../../dotfiles/a.md",
				"dotfiles/claude.md": "1", "dotfiles/a.md": "2", "dotfiles/skills/s/SKILL.md": "3", "dotfiles/skills/t": "->s", "dotfiles/skills/s/again.md": "->SKILL.md",
			},
			want: []string{"CLAUDE.md", "agents/a.md", "skills/s/SKILL.md", "skills/s/again.md", "skills/t/SKILL.md", "skills/t/again.md"},
		},
		"all of it is a link": {
			files: map[string]string{".claude": "->dotfiles/claude", "dotfiles/claude/CLAUDE.md": "1", "dotfiles/claude/skills/s/SKILL.md": "2"},
			want:  []string{"CLAUDE.md", "skills/s/SKILL.md"},
		},
		"links that a guest can have made": {
			files: map[string]string{
				".ssh/id": "secret", ".claude/skills": "->../dotfiles/skills", "dotfiles/skills/s/SKILL.md": "1", "dotfiles/skills/s/x": "->HOME/.ssh/id",
				"dotfiles/skills/s/y": "->../../../.ssh/id", "dotfiles/skills/z": "->HOME/.ssh", ".claude/agents": "->../dotfiles/agents", "dotfiles/agents": "->../.ssh",
			},
			want:     []string{"skills/s/SKILL.md"},
			warnings: []string{"agents is not in the VM: it leads to ", "skills/s/x is not in the VM: a link out of ", "skills/s/y is not", "skills/z is not"},
		},
		"a guest has the directory": {
			files: map[string]string{".ssh/id": "secret", ".claude/skills/s/SKILL.md": "1", ".claude/skills/s/x": "->HOME/.ssh/id"}, shared: ".claude/skills",
			want:     []string{"skills/s/SKILL.md"},
			warnings: []string{"skills/s/x is not in the VM: a link out of "},
		},
		"a loop": {
			files:    map[string]string{".claude/skills/s/SKILL.md": "1", ".claude/skills/s/t": "->.."},
			want:     []string{"skills/s/SKILL.md"},
			warnings: []string{"skills is not in the VM: too many directories"},
		},
		"a dangling link": {
			files: map[string]string{".claude/CLAUDE.md": "->nowhere"}, warnings: []string{"CLAUDE.md is not in the VM: no such file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, to := home(t, c.files), filepath.Join(t.TempDir(), "copy")
			var shared []string
			if c.shared != "" {
				shared = []string{filepath.Join(dir, c.shared)}
			}
			warnings, copied, err := Copy(dir, to, shared)
			if err != nil || copied != (len(c.want) > 0) {
				t.Errorf("Copy() = %v, %v", copied, err)
			}
			var got []string
			filepath.WalkDir(to, func(path string, e fs.DirEntry, err error) error {
				if err == nil && !e.IsDir() {
					got = append(got, strings.TrimPrefix(path, to+"/"))
					if !e.Type().IsRegular() {
						t.Errorf("%s is not a regular file", path)
					}
				}
				return err
			})
			if !slices.Equal(got, c.want) {
				t.Errorf("copied %q, want %q", got, c.want)
			}
			if len(warnings) != len(c.warnings) {
				t.Errorf("warnings: %q", warnings)
			}
			for _, part := range c.warnings {
				if !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, part) }) {
					t.Errorf("warnings %q, want %q", warnings, part)
				}
			}
		})
	}
}

// TestLimit checks that what is too large is cut, with a warning.
func TestLimit(t *testing.T) {
	dir, to := home(t, map[string]string{".claude/CLAUDE.md": "1", ".claude/skills/s/SKILL.md": strings.Repeat("x", maxBytes)}), filepath.Join(t.TempDir(), "copy")
	warnings, copied, err := Copy(dir, to, nil)
	if err != nil || !copied || len(warnings) != 1 || !strings.HasSuffix(warnings[0], "skills is not in the VM: more than 4000 files, or 16 MiB") {
		t.Errorf("Copy() = %q, %v, %v", warnings, copied, err)
	}
	if _, err := os.Stat(filepath.Join(to, "skills/s/SKILL.md")); err == nil {
		t.Error("a cut file is left")
	}
}
