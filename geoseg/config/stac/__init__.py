"""What a STAC item offers of a scene: JSON values in, references to bands, masks and labels out.

``refs`` has the references, ``assets`` the roles of an item's assets, ``item`` the choice of bands, mask,
date and labels. Files are opened by :mod:`geoseg.io.stac`. Begin with
:func:`geoseg.config.stac.item.scene_of`.
"""
