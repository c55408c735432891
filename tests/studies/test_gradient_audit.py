"""The study of the audit's time runs at a tiny size and ends with its JSON."""

import json

from studies.gradient_audit import TARGET, main


def test_study_prints_the_audit_and_ends_with_json(capsys):
    main(["--quick", "--inputs", "6", "--width", "4", "--rows", "8", "--repeats", "4"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("96 latent bits, 92 parameters; 4 repeats")
    result = json.loads(lines[-1])
    assert set(result) == {"study", "metric", "value", "target", "machine"}
    assert result["target"] == TARGET == 60
    assert 0 < result["value"] < 60
