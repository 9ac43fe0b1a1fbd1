package board

import (
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/identity/names"
)

// What Grafana's dashboards are made of. A panel is a width of 24 columns, shared by its row.
const (
	gridColumns   = 24
	panelHeight   = 8
	numberHeight  = 4
	schemaVersion = 39
	// boardLabel is by which Grafana's sidecar finds ConfigMaps with dashboards.
	boardLabel = "grafana_dashboard"
)

type object = map[string]any

var datasource = object{"type": "prometheus", "uid": "$datasource"}

// JSON is the board as Grafana imports it.
func (b *Board) JSON() ([]byte, error) {
	variables := []any{object{"type": "datasource", "name": "datasource",
		"label": "Prometheus", "query": "prometheus", "options": []any{},
		"current": object{"text": "default", "value": "default"},
		"refresh": 1, "regex": "", "hide": 0, "skipUrlSync": false}}
	for i := range b.Variables {
		variables = append(variables, b.Variables[i].grafana())
	}
	text, err := json.MarshalIndent(object{
		"uid": b.UID, "title": b.Title, "description": b.About, "tags": []string{names.Mesh},
		"editable": true, "schemaVersion": schemaVersion, "graphTooltip": 1, "refresh": "30s",
		"time":       object{"from": "now-1h", "to": "now"},
		"templating": object{"list": variables}, "annotations": object{"list": []any{}},
		"panels": b.panels(),
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write board %s: %w", b.UID, err)
	}
	return append(text, '\n'), nil
}

func (v *Variable) grafana() object {
	out := object{"name": v.Name, "label": v.Label, "hide": 0, "skipUrlSync": false,
		"includeAll": v.All, "multi": v.All, "current": object{}}
	if v.Series == "" {
		var options []any
		for i, value := range v.List {
			options = append(options, object{"selected": i == 0, "text": value, "value": value})
		}
		out["type"], out["query"], out["options"] = "custom", strings.Join(v.List, ","), options
		out["current"] = options[0]
		return out
	}
	query := "label_values(" + v.Series + ", " + v.Of + ")"
	out["type"], out["datasource"], out["definition"] = "query", datasource, query
	out["query"] = object{"query": query, "refId": v.Name}
	out["refresh"], out["sort"], out["regex"], out["options"] = 2, 1, "", []any{}
	if v.All {
		out["allValue"] = ".*"
		out["current"] = object{"selected": true, "text": []string{"All"},
			"value": []string{"$__all"}}
	}
	return out
}

// panels places them: rows one below the other, each row's panels side by side.
func (b *Board) panels() (all []any) {
	id, y := 0, 0
	next := func() int { id++; return id }
	for _, r := range b.Rows {
		if r.Title != "" {
			all = append(all, object{"type": "row", "id": next(), "title": r.Title,
				"collapsed": false, "panels": []any{}, "gridPos": place(0, y, gridColumns, 1)})
			y++
		}
		height, width := 0, gridColumns/len(r.Panels)
		for i := range r.Panels {
			p := r.Panels[i].grafana()
			p["id"], p["gridPos"] = next(), place(i*width, y, width, r.Panels[i].height())
			height = max(height, r.Panels[i].height())
			all = append(all, p)
		}
		y += height
	}
	return all
}

func place(x, y, w, h int) object { return object{"x": x, "y": y, "w": w, "h": h} }

func (p *Panel) height() int {
	if p.Kind == numbers {
		return numberHeight
	}
	return panelHeight
}

func (p *Panel) grafana() object {
	defaults := object{"unit": string(p.Unit)}
	if p.Unit == ratio && p.Kind == lines {
		defaults["max"] = 1
	}
	if p.Kind == lines {
		defaults["custom"] = p.drawn()
	}
	return object{"type": string(p.Kind), "title": p.Title, "description": p.About,
		"datasource": datasource, "targets": p.targets(), "options": p.Kind.options(),
		"fieldConfig": object{"defaults": defaults, "overrides": []any{}}}
}

// drawn is how lines are.
func (p *Panel) drawn() object {
	custom := object{"lineWidth": 1, "showPoints": "never"}
	if p.Stacked {
		custom["fillOpacity"] = 30
		custom["stacking"] = object{"mode": "normal", "group": "A"}
	}
	return custom
}

// options are all that Grafana's schema wants of a kind, its own defaults where nothing else is
// better.
func (k Kind) options() object {
	switch k {
	case lines:
		return object{"tooltip": object{"mode": "multi", "sort": "desc"},
			"legend": object{"showLegend": true, "displayMode": "list", "placement": "bottom",
				"calcs": []string{}}}
	case numbers:
		return object{"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "",
			"values": false}, "graphMode": "area", "colorMode": "value", "justifyMode": "auto",
			"textMode": "auto", "wideLayout": true, "showPercentChange": false,
			"percentChangeColorMode": "standard", "orientation": "auto"}
	case table:
		return object{"frameIndex": 0, "showHeader": true}
	}
	return object{}
}

// targets are the panel's queries. Exemplars are shown where the series have any.
func (p *Panel) targets() (all []any) {
	for i, q := range p.Queries {
		one := object{"refId": string(rune('A' + i)), "expr": q.Expr, "datasource": datasource,
			"legendFormat": q.Legend, "editorMode": "code"}
		if p.Kind == table {
			one["format"], one["instant"], one["range"] = "table", true, false
		} else {
			one["instant"], one["range"], one["exemplar"] = false, true, p.Kind == lines
		}
		all = append(all, one)
	}
	return all
}

// ConfigMap is the board as Grafana's sidecar finds it.
func (b *Board) ConfigMap(o Object) ([]byte, error) {
	text, err := b.JSON()
	if err != nil {
		return nil, err
	}
	return yaml.Marshal(object{"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": o.meta(b.UID, map[string]string{boardLabel: "1"}),
		"data":     object{b.UID + ".json": string(text)}})
}
