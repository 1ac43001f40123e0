//! What `scripts/mutations.sh` turns off is there to be turned off.

use std::fs;
use std::path::Path;

#[test]
fn mutations_apply_to_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for patch in fs::read_dir(root.join("tests/simulator/mutations")).unwrap() {
        let (path, mut file, mut before) = (patch.unwrap().path(), None, String::new());
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().skip_while(|line| !line.starts_with("--- a/")) {
            if let Some(name) = line.strip_prefix("--- a/") {
                file = Some(name.to_owned());
            } else if let Some(line) = line.strip_prefix(['-', ' ']) {
                before.push_str(line);
                before.push('\n');
            }
        }
        let source = fs::read_to_string(root.join(file.unwrap())).unwrap();
        assert_eq!(source.matches(&before).count(), 1, "{path:?} has to be made anew");
        let names = ["simulator", "lib"].map(|target| format!("\nTest: {target} "));
        assert!(names.iter().any(|name| text.contains(name)), "{path:?} names no test");
        count += 1;
    }
    assert!(count > 5);
}
