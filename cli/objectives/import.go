package objectives

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// Import reads what other tools call an objective: OpenSLO's SLO (openslo/v1), Sloth's
// PrometheusServiceLevel and Pyrra's ServiceLevelObjective. Theirs say by a query what goes well,
// ours is about a Service; so those come over whose queries are about requests to one Service, as
// Istio, Linkerd or this mesh count them. Of each of the others the error names the field.
func Import(file string, text []byte) (out []*crd.ServiceLevelObjective, err error) {
	var problems []error
	for in := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc foreign
		if err := in.Decode(&doc); errors.Is(err, io.EOF) {
			return out, errors.Join(problems...)
		} else if err != nil {
			return nil, errors.Join(append(problems, crd.SyntaxError(file, err))...)
		}
		all, errs := doc.objectives()
		for _, err := range errs {
			problems = append(problems,
				fmt.Errorf("%s: %s %s: %w", file, doc.Kind, doc.Metadata.Name, err))
		}
		out = append(out, all...)
	}
}

// foreign is a document of one of the others, as far as it matters here.
type foreign struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name      string `yaml:"name"`
		Namespace string `yaml:"namespace"`
	} `yaml:"metadata"`
	Spec struct {
		// OpenSLO
		Indicator    yaml.Node `yaml:"indicator"` // Pyrra has it, too
		IndicatorRef string    `yaml:"indicatorRef"`
		TimeWindow   []struct {
			Duration string    `yaml:"duration"`
			Calendar yaml.Node `yaml:"calendar"`
		} `yaml:"timeWindow"`
		BudgetingMethod string `yaml:"budgetingMethod"`
		Objectives      []struct {
			Target        float64 `yaml:"target"`
			TargetPercent float64 `yaml:"targetPercent"`
		} `yaml:"objectives"`
		// Sloth
		SLOs []struct {
			Name      string    `yaml:"name"`
			Objective float64   `yaml:"objective"`
			SLI       yaml.Node `yaml:"sli"`
		} `yaml:"slos"`
		// Pyrra
		Target string `yaml:"target"`
		Window string `yaml:"window"`
	} `yaml:"spec"`
}

var specPath = field.NewPath("spec")

func (f *foreign) objectives() ([]*crd.ServiceLevelObjective, field.ErrorList) {
	group, _, _ := strings.Cut(f.APIVersion, "/")
	switch group + " " + f.Kind {
	case "openslo SLO":
		return f.ofOpenSLO()
	case "sloth.slok.dev PrometheusServiceLevel":
		return f.ofSloth()
	case "pyrra.dev ServiceLevelObjective":
		return f.ofPyrra()
	}
	return nil, field.ErrorList{field.NotSupported(field.NewPath("kind"), f.APIVersion+" "+f.Kind,
		[]string{"openslo/v1 SLO", "sloth.slok.dev/v1 PrometheusServiceLevel",
			"pyrra.dev/v1alpha1 ServiceLevelObjective"})}
}

func (f *foreign) ofOpenSLO() ([]*crd.ServiceLevelObjective, field.ErrorList) {
	s := &f.Spec
	var errs field.ErrorList
	if s.IndicatorRef != "" {
		errs = append(errs, field.Forbidden(specPath.Child("indicatorRef"),
			"put the SLI's spec into spec.indicator"))
	}
	if m := s.BudgetingMethod; m != "" && m != "Occurrences" {
		errs = append(errs, field.NotSupported(specPath.Child("budgetingMethod"), m,
			[]string{"Occurrences"}))
	}
	window := ""
	switch at := specPath.Child("timeWindow"); {
	case len(s.TimeWindow) != 1:
		errs = append(errs, field.Required(at, "one rolling window"))
	case !s.TimeWindow[0].Calendar.IsZero():
		errs = append(errs, field.Forbidden(at.Index(0).Child("calendar"),
			"windows are rolling here: take calendar away"))
	default:
		window = s.TimeWindow[0].Duration
	}
	if len(s.Objectives) != 1 {
		return nil, append(errs, field.Invalid(specPath.Child("objectives"), len(s.Objectives),
			"must be one: write an SLO for each"))
	}
	target := cmp.Or(s.Objectives[0].TargetPercent, 100*s.Objectives[0].Target)
	out := imported{name: f.Metadata.Name, percent: target, window: window,
		windowAt:  specPath.Child("timeWindow").Index(0).Child("duration"),
		percentAt: specPath.Child("objectives").Index(0).Child("target"),
		queries:   &s.Indicator, queriesAt: specPath.Child("indicator")}
	return f.one(out, errs)
}

func (f *foreign) ofSloth() (all []*crd.ServiceLevelObjective, errs field.ErrorList) {
	for i := range f.Spec.SLOs {
		s, at := &f.Spec.SLOs[i], specPath.Child("slos").Index(i)
		one, more := f.one(imported{name: f.Metadata.Name + "-" + s.Name, percent: s.Objective,
			window: "30d", windowAt: at, percentAt: at.Child("objective"), queries: &s.SLI,
			queriesAt: at.Child("sli")}, nil)
		all, errs = append(all, one...), append(errs, more...)
	}
	return all, errs
}

func (f *foreign) ofPyrra() ([]*crd.ServiceLevelObjective, field.ErrorList) {
	percent, _ := strconv.ParseFloat(f.Spec.Target, 64) // 0 is refused
	return f.one(imported{name: f.Metadata.Name, percent: percent, window: f.Spec.Window,
		windowAt: specPath.Child("window"), percentAt: specPath.Child("target"),
		queries: &f.Spec.Indicator, queriesAt: specPath.Child("indicator")}, nil)
}

// imported is an objective in the others' terms, and where in the document it says so.
type imported struct {
	name                           string
	percent                        float64
	window                         string
	queries                        *yaml.Node
	windowAt, percentAt, queriesAt *field.Path
}

// one makes an objective of ours, unless there are errors.
func (f *foreign) one(
	in imported, errs field.ErrorList,
) ([]*crd.ServiceLevelObjective, field.ErrorList) {
	about, problem := measured(in.queries)
	if problem != "" {
		errs = append(errs, field.Invalid(in.queriesAt, "", problem))
	}
	days, ok := daysOf(in.window)
	if !ok {
		errs = append(errs, field.Invalid(in.windowAt, in.window, "must be days or weeks, such as "+
			"30d or 4w"))
	}
	if len(errs) > 0 {
		return nil, errs
	}
	out := &crd.ServiceLevelObjective{
		TypeMeta: metav1.TypeMeta{APIVersion: crd.APIVersion, Kind: crd.ServiceLevelObjectiveKind},
		ObjectMeta: metav1.ObjectMeta{Name: in.name,
			Namespace: cmp.Or(about.namespace, f.Metadata.Namespace)},
		Spec: crd.ServiceLevelObjectiveSpec{
			TargetRef: crd.ObjectiveTarget{Kind: crd.TargetService, Name: about.service},
			Route:     about.route, Latency: about.latency, Window: days,
			Objective: strconv.FormatFloat(math.Round(in.percent*1e4)/1e4, 'f', -1, 64),
		},
	}
	for _, err := range out.Validate() {
		if err.Field == "spec.objective" {
			err.Field = in.percentAt.String()
		}
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return []*crd.ServiceLevelObjective{out}, nil
}

var windowForm = regexp.MustCompile(`^([0-9]{1,4})([hdw])$`)

// daysOf is a window of theirs as ours are written.
func daysOf(window string) (string, bool) {
	m := windowForm.FindStringSubmatch(window)
	if m == nil {
		return "", false
	}
	n, _ := strconv.Atoi(m[1])
	hours := n * map[string]int{"h": 1, "d": 24, "w": 7 * 24}[m[2]]
	return strconv.Itoa(hours/24) + "d", hours > 0 && hours%24 == 0
}
