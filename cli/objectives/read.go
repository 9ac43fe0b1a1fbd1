package objectives

import (
	"errors"
	"fmt"
	"os"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/viz/slo"
)

// Read takes the objectives out of files, in which there may be other kinds. Errors name the file
// and the line.
func Read(paths []string) ([]slo.Objective, error) {
	reg := registry.New()
	var problems []error
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			problems = append(problems, fmt.Errorf("read objectives: %w", err))
			continue
		}
		found, err := parse(path, text)
		problems = append(problems, err)
		reg.Owner(path).Apply(registry.Change{Set: found})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return all(reg), nil
}

func parse(path string, text []byte) (out []registry.Object, err error) {
	found, err := files.Parse(path, text)
	if err != nil {
		return nil, err
	}
	for _, object := range found {
		if p, ok := object.(*registry.Policy); ok && p.Kind == crd.ServiceLevelObjectiveKind {
			out = append(out, object)
		}
	}
	return out, nil
}
