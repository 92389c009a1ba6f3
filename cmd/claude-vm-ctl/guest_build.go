package main

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/image"
	"github.com/t0mpr1c3/claude-microvm/internal/imagebuild"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
)

type guestBuildVerb struct{ dir, name, from, packages string }

// fromDevcontainer is the value of --from for the image that a project names.
const fromDevcontainer = "devcontainer"

func (g *guestBuildVerb) register(app *kingpin.Application) string {
	cmd := guestCommand(app).Command("build", "Build a guest, or build it again. IMAGE is the name of an image (node:22), a directory or archive with one, devcontainer for the image in DIR/.devcontainer/devcontainer.json, or an image with a transport of skopeo (containers-storage:NAME).")
	describe(cmd, "", "guest build --from node:22", "guest build --name web --from oci-archive:web.tar", "guest build --from devcontainer ~/src/web", `guest build --name go --packages "golang make"`)
	cmd.Arg("dir", "The project with the devcontainer.json.").Default(".").HintAction(func() []string { return []string{anyDirectory} }).StringVar(&g.dir)
	cmd.Flag("from", "The container image.").PlaceHolder("IMAGE").HintOptions(fromDevcontainer, anyDirectory).StringVar(&g.from)
	cmd.Flag("packages", "Instead of an image, a Debian system with these packages.").PlaceHolder("WORDS").HintOptions(anyText).StringVar(&g.packages)
	cmd.Flag("name", "Name of the guest; by default that of the image.").PlaceHolder("NAME").HintAction(guestHints).StringVar(&g.name)
	return cmd.FullCommand()
}

func (g *guestBuildVerb) run(ctx context.Context, out *output) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	r := imagebuild.Recipe{Directory: paths.GuestDirectories()[0], Progress: out.progress}
	if err := g.fill(out, &r); err != nil {
		return 0, err
	}
	if err := image.CheckName(r.Name); err != nil {
		return 0, usage(fmt.Errorf("--name %q: %w", r.Name, err))
	}
	if r.Mkfs, err = preflight.Mkfs(ctx); err != nil {
		return 0, err
	}
	find := preflight.Skopeo
	program := &r.Skopeo
	if r.Reference == "" {
		find, program = preflight.Mmdebstrap, &r.Mmdebstrap
	}
	if *program, err = find(); err != nil {
		return 0, err
	}
	built, err := r.Build(ctx)
	out.endProgress()
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(out.stdout, "built %s from %s, %s; to use it, set Guest=%s\n", built.Name, failure.OneLine(built.From), size.Format(uint64(built.Size)), built.Name)
	return 0, err
}

// fill sets what the options say, and prints the image that a project asks for.
func (g *guestBuildVerb) fill(out *output, r *imagebuild.Recipe) error {
	r.Packages = strings.Fields(strings.ReplaceAll(g.packages, ",", " "))
	switch {
	case g.from == "" && len(r.Packages) == 0:
		return usage(errNoFrom)
	case g.from != "" && g.packages != "":
		return usage(fmt.Errorf("--from and --packages exclude each other: an image has its own packages"))
	case g.dir != "." && g.from != fromDevcontainer:
		return usage(fmt.Errorf("%s: a directory is only for --from %s", g.dir, fromDevcontainer))
	case g.from == "":
		r.Name, r.From = g.name, "Debian "+imagebuild.Suite+": "+strings.Join(r.Packages, " ")
		if r.Name == "" {
			r.Name = "debian"
		}
		if err := imagebuild.CheckPackages(r.Packages); err != nil {
			return usage(err)
		}
		return nil
	}
	r.From = g.from
	if g.from == fromDevcontainer {
		named, err := imagebuild.Devcontainer(g.dir)
		if err != nil {
			return err
		}
		out.endProgress()
		fmt.Fprintf(out.stderr, "claude-vm-ctl: %s asks for the image %s; nothing else of its devcontainer.json is used\n", failure.OneLine(g.dir), named)
		r.From = "docker://" + named
	}
	var err error
	if r.Reference, err = imagebuild.Reference(r.From); err != nil {
		return usage(err)
	}
	if r.Name = g.name; r.Name == "" {
		r.Name = nameOf(r.From)
	}
	return nil
}

// nameOf returns a name for a guest: the last part of an image's name with its tag, or of a path.
func nameOf(from string) string {
	from, _, _ = strings.Cut(from, "@")
	base := strings.TrimSuffix(path.Base(filepath.Clean(from)), ".tar")
	if _, rest, found := strings.Cut(base, ":"); found && !strings.Contains(from, "/") && strings.HasPrefix(from, "oci") {
		base = rest // oci:directory
	}
	return strings.Trim(strings.ReplaceAll(base, ":", "-"), "._-")
}
