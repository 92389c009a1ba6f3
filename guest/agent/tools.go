package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// This file makes programs of the guest usable in a container image that lacks them. They need
// the guest's C library, and the image may have another one, or none. So toolsDir has links to
// this program, which is static, and which executes the program with the name of the link
// through the guest's dynamic linker. On NixOS, programs have absolute paths of their libraries,
// and the links are to the programs themselves.

const (
	// toolsDir is the last directory of PATH in an image.
	toolsDir = runtimeDir + "/bin"
	// gitDir is GIT_EXEC_PATH of the guest's git.
	gitDir   = runtimeDir + "/git-core"
	storeDir = "/nix"
	// programName is the name of this program, unless it runs as a tool.
	programName = "agent"
)

// toolNames are programs that Claude Code, people and SSH clients use. The applets of busybox
// are added.
var toolNames = []string{"bash", "busybox", "curl", "git", "git-lfs", "jq", "less", "rg", "rsync", "scp", "sftp-server", "ssh"}

// toolDirs are the directories of the guest that are searched for them.
var toolDirs = []string{"/usr/local/bin", "/usr/bin", "/usr/lib/openssh", "/usr/lib/git-core"}

// tool is a link: a name in toolsDir, and what it points to in an image.
type tool struct{ name, target string }

// findTools returns the tools that this guest has.
func findTools() ([]tool, error) {
	claude, err := (*root)(nil).claudePath()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	tools := []tool{{"claude", inImage(claude)}}
	if _, err := os.Stat(storeDir); err == nil {
		return append(tools, storeTools()...), nil
	}
	applets, err := exec.Command("busybox", "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("busybox --list: %w", err)
	}
	for _, name := range append(toolNames, strings.Fields(string(applets))...) {
		tools = append(tools, tool{name, inImage(self)})
	}
	return tools, nil
}

// claudePath returns the path of the file of Claude Code. It runs in r.
func (r *root) claudePath() (path string, err error) {
	if path = filepath.Join(toolsDir, "claude"); r == nil {
		if path, err = exec.LookPath("claude"); err != nil {
			return "", err
		}
	}
	return filepath.EvalSymlinks(path)
}

// storeTools returns the programs of NixOS.
func storeTools() (tools []tool) {
	const dir = "/run/current-system/sw/bin"
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if path, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name())); err == nil {
			tools = append(tools, tool{e.Name(), path})
		}
	}
	if path, err := filepath.EvalSymlinks("/usr/lib/openssh/sftp-server"); err == nil {
		tools = append(tools, tool{"sftp-server", path})
	}
	return tools
}

// inImage returns the path at which an image sees a file of the guest. The directory of NixOS has
// the same path in both.
func inImage(path string) string {
	if strings.HasPrefix(path, storeDir+"/") {
		return path
	}
	return baseDir + path
}

// linkTools creates the links. It runs in the image.
func linkTools(tools []tool) error {
	if err := os.MkdirAll(toolsDir, 0o755); err != nil {
		return err
	}
	for _, t := range tools {
		// The first of two with the same name is used.
		if err := os.Symlink(t.target, filepath.Join(toolsDir, t.name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return linkGit()
}

// linkGit makes the directory for the subcommands of the guest's git. Its shell scripts include
// each other, so they are no tools.
func linkGit() error {
	const dir = baseDir + "/usr/lib/git-core"
	entries, err := os.ReadDir(dir)
	if err != nil { // NixOS
		return nil
	}
	if err := os.MkdirAll(gitDir, 0o755); err != nil {
		return err
	}
	agent, err := os.Readlink(filepath.Join(toolsDir, "git"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		target := filepath.Join(dir, e.Name())
		if e.Type().IsRegular() && isELF(target) || e.Type()&os.ModeSymlink != 0 {
			target = agent
		}
		if err := os.Symlink(target, filepath.Join(gitDir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func isELF(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	magic := make([]byte, 4)
	_, err = f.Read(magic)
	return err == nil && bytes.Equal(magic, []byte("\x7fELF"))
}

// runTool executes a tool with the arguments of this process. It returns only if it fails.
func runTool(name string) error {
	linkers, _ := filepath.Glob(baseDir + "/usr/lib/*-linux-gnu/ld-linux-*.so.*")
	if len(linkers) == 0 {
		return fmt.Errorf("no dynamic linker in %s", baseDir)
	}
	program := baseDir + "/usr/bin/busybox"
	for _, dir := range toolDirs {
		if path := filepath.Join(baseDir+dir, name); isELF(path) {
			program = path
			break
		}
	}
	env := os.Environ()
	if name == "git" || strings.HasPrefix(name, "git-") {
		env = append(env, "GIT_EXEC_PATH="+gitDir, "GIT_TEMPLATE_DIR="+baseDir+"/usr/share/git-core/templates")
	}
	argv := append([]string{linkers[0], "--argv0", name, "--library-path", filepath.Dir(linkers[0]), program}, os.Args[1:]...)
	return &os.PathError{Op: "exec", Path: program, Err: unix.Exec(linkers[0], argv, env)}
}
