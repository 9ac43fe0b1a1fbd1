package page

import (
	"os"
	"path/filepath"
)

// picture saves the graph by its button, and looks at the file without the page.
func picture(b *tab, base string) {
	b.t.Helper()
	b.open(base+"/graph", views[1].shows)
	type saved struct{ Name, Text, Wrong string }
	got := eval[saved](b, `(async () => {
		let blob = null;
		let name = '';
		const [make, click] = [URL.createObjectURL, HTMLAnchorElement.prototype.click];
		URL.createObjectURL = (one) => { blob = one; return make.call(URL, one); };
		HTMLAnchorElement.prototype.click = function () { name = this.download; click.call(this); };
		document.querySelector('[data-do=picture]').click();
		[URL.createObjectURL, HTMLAnchorElement.prototype.click] = [make, click];
		const Text = await blob.text();
		const file = new DOMParser().parseFromString(Text, 'image/svg+xml');
		const wrong = [];
		if (file.querySelector('parsererror')) wrong.push('it is no XML');
		for (const e of file.querySelectorAll('*')) {
			for (const a of e.attributes) {
				if (/^(class|style|data-|on|aria-|role|tabindex)/.test(a.name)) wrong.push(a.name);
				if (/var\(|light-dark|currentcolor|url\((?!"?#)/.test(a.value)) wrong.push(a.value);
			}
		}
		const all = document.querySelectorAll('#graph .node text.name');
		for (const { textContent } of all) {
			if (![...file.querySelectorAll('text')].some((t) => t.textContent === textContent)) {
				wrong.push(textContent + ' is missing');
			}
		}
		const lines = document.querySelectorAll('#graph .edge .line').length;
		if (file.querySelectorAll('[marker-end]').length !== lines) wrong.push('lines are missing');
		return { Name: name, Text, Wrong: [...new Set(wrong)].join('; ') };
	})()`)
	if got.Name != "mesh.svg" || got.Wrong != "" {
		b.t.Errorf("the graph is saved as %q: %s", got.Name, got.Wrong)
	}
	path, err := filepath.Abs(filepath.Join(pictures, "mesh.svg"))
	if err == nil {
		err = os.WriteFile(path, []byte(got.Text), 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.open("file://"+path, `document.documentElement.nodeName === 'svg' &&
		document.querySelectorAll('text').length >= 9`)
	b.shoot(pictures, "mesh-svg")
}
