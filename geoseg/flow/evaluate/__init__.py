"""Score finished maps against reference labels, and draw where they are worst.

``evaluate`` tells the story; ``scene`` counts the pixels of one scene and ``objects`` its polygons, with
what io reads and what score counts; ``worst`` chooses windows and ``worst_figure`` draws them (matplotlib,
an extra). Knows nothing of how maps are made: ``run`` uses it, not the other way round. Begin with
:func:`geoseg.flow.evaluate.evaluate.evaluate_workflow`.
"""
